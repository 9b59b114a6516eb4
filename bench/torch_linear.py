"""The cells of bench_gemm with torch: python bench/torch_linear.py [THREADS] [SECONDS A CELL] [cold]"""
import sys
import time

import torch

threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.03
cold = len(sys.argv) > 3
torch.set_num_threads(threads)
print(f"# torch {torch.__version__}, {threads} threads{', weights from memory' if cold else ''}")
shapes = [(384, 384), (1536, 384), (384, 1536), (576, 576), (1536, 576), (768, 768), (2048, 2048), (4096, 1024)]
for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
    for N, K in shapes:
        for M in (1, 4, 8, 16, 32, 48, 128, 512):
            if cold and (M > 16 or N < 576):
                continue
            size = N * K * dtype.itemsize
            ws = [torch.randn(N, K).to(dtype) for _ in range(int(400e6 / size) + 1 if cold else 1)]
            x = torch.randn(M, K).to(dtype)
            rates, call = [], 0
            with torch.inference_mode():
                torch.nn.functional.linear(x, ws[0])
                for _ in range(7):
                    start, n = time.perf_counter(), 0
                    while (t := time.perf_counter() - start) < seconds:
                        torch.nn.functional.linear(x, ws[call % len(ws)])
                        call += 1
                        n += 1
                    rates.append(n / t)
            rates.sort()
            flop = 2e-9 * M * N * K
            print(f"{name:14s} {'f32' if name == 'float32' else 'bf16':4s} M={M:<4d} N={N:<5d} K={K:<5d}  "
                  f"best {flop * rates[-1]:6.1f} median {flop * rates[3]:6.1f} GFLOP/s   "
                  f"best {size * 1e-9 * rates[-1]:5.1f} median {size * 1e-9 * rates[3]:5.1f} GB/s", flush=True)
