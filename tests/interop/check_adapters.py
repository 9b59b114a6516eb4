"""Adapters: mltf computes what peft computes, for random adapters of every kind over random small models.

    python tests/interop/check_adapters.py [SEED]

LoRA with and without rsLoRA, on layers and on tables of embeddings, alpha and rank patterns, trained biases and whole modules; DoRA; IA3; several side by side. Exit status 0 only
if the logits of every one are those of the library.
"""
import json, os, random, subprocess, sys, tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import peft, torch
import transformers as T

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_fresh_checkpoints as fresh

BASES = {
    "llama": (T.LlamaForCausalLM, T.LlamaConfig(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2), ["q_proj", "v_proj", "down_proj"], ["k_proj", "down_proj"], ["down_proj"], ["lm_head"], ["embed_tokens"]),
    "tied": (T.LlamaForCausalLM, T.LlamaConfig(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True), ["q_proj", "lm_head"], ["k_proj", "down_proj"], ["down_proj"], ["lm_head"], ["embed_tokens"]),
    "gpt2": (T.GPT2LMHeadModel, T.GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64), ["c_attn", "c_fc"], ["c_attn", "mlp.c_proj"], ["mlp.c_proj"], ["lm_head"], ["wte", "wpe"]),
    "bert": (T.BertForSequenceClassification, T.BertConfig(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_labels=3), ["query", "value", "output.dense"], ["key", "value", "output.dense"], ["output.dense"], ["classifier"], ["word_embeddings", "token_type_embeddings"]),
    "gpt_neox": (T.GPTNeoXForCausalLM, T.GPTNeoXConfig(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64), ["query_key_value", "dense_4h_to_h"], ["query_key_value", "dense_4h_to_h"], ["dense_4h_to_h"], ["embed_out"], ["embed_in"]),
    "phi3": (T.Phi3ForCausalLM, T.Phi3Config(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, pad_token_id=0), ["qkv_proj", "gate_up_proj"], ["qkv_proj", "down_proj"], ["down_proj"], ["lm_head"], ["embed_tokens"]),
}


def kinds(targets, ia3, feedforward, whole, tables, conv, task):
    lora = lambda targets=targets, **more: peft.LoraConfig(r=4, lora_alpha=7, target_modules=targets, fan_in_fan_out=conv, task_type=task, **more)
    yield "lora", lora()
    yield "rslora, patterns", lora(use_rslora=True, rank_pattern={targets[0]: 2}, alpha_pattern={targets[-1]: 3})
    yield "tables", lora(targets=tables)
    yield "tables and layers", lora(targets=tables + targets, use_rslora=True)
    yield "biases", lora(bias="all")
    yield "whole modules", lora(modules_to_save=whole)
    yield "dora", lora(use_dora=True)
    yield "dora with biases", lora(use_dora=True, bias="lora_only")
    yield "ia3", peft.IA3Config(target_modules=ia3, feedforward_modules=feedforward, fan_in_fan_out=conv, task_type=task)


@torch.no_grad()
def disturb(model, g):
    for n, p in model.named_parameters():
        if any(k in n for k in ("lora_", "ia3_", "modules_to_save")) or (p.requires_grad and n.endswith("bias")):
            p.add_(0.3 * torch.randn(p.shape, generator=g))


def answer(base, folder, ids):
    done = subprocess.run([fresh.PARITY, "--logits", base, "float32", folder], input=json.dumps(ids[0].tolist()), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return torch.tensor(json.loads(done.stdout))


@torch.no_grad()
def several(seed, g):
    """Two adapters of one model: the directory is the default one, its sub-folder the other."""
    cls, config, targets = BASES["llama"][:3]
    with tempfile.TemporaryDirectory() as tmp:
        base = cls(config).eval()
        fresh.fill(base, random.Random(seed))
        base.save_pretrained(tmp + "/base")
        adapter = lambda r: peft.LoraConfig(r=r, lora_alpha=7, target_modules=targets, task_type="CAUSAL_LM")
        model = peft.get_peft_model(base, adapter(4)).eval()
        model.add_adapter("other", adapter(2))
        disturb(model, g)
        model.set_adapter("other")
        model.save_pretrained(tmp + "/both")
        ids = torch.randint(3, 61, (1, 9), generator=g)
        want = {}
        for name in ("default", "other"):
            model.set_adapter(name)
            want[name] = model(input_ids=ids).logits[0]
        again = peft.PeftModel.from_pretrained(cls.from_pretrained(tmp + "/base"), tmp + "/both").eval()(input_ids=ids).logits[0]
        far = [float((answer(tmp + "/base", tmp + "/both", ids) - want["default"]).abs().max()),
               float((answer(tmp + "/base", tmp + "/both/other", ids) - want["other"]).abs().max()), float((again - want["default"]).abs().max())]
        bad = not max(far) <= 1e-4 or not float((want["default"] - want["other"]).abs().max()) > 1e-2
        print("%s %-9s %-18s %.2g away" % ("FAIL" if bad else "ok  ", "llama", "several", max(far)))
        return bad


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    g = torch.Generator().manual_seed(seed)
    failed = 0
    for name, (cls, config, targets, ia3, feedforward, whole, tables) in BASES.items():
        config._attn_implementation = "eager"
        with tempfile.TemporaryDirectory() as tmp:
            torch.manual_seed(seed)
            base = cls(config).eval()
            fresh.fill(base, random.Random(seed))
            base.save_pretrained(tmp + "/base")
            for kind, c in kinds(targets, ia3, feedforward, whole, tables, name == "gpt2", "SEQ_CLS" if "Sequence" in cls.__name__ else "CAUSAL_LM"):
                model = peft.get_peft_model(cls.from_pretrained(tmp + "/base", attn_implementation="eager").eval(), c).eval()
                disturb(model, g)
                folder = "%s/%s" % (tmp, kind.replace(" ", "-"))
                model.save_pretrained(folder)
                ids = torch.randint(3, 61, (1, 9), generator=g)
                with torch.no_grad():
                    want = model(input_ids=ids).logits[0]
                    plain = base(input_ids=ids).logits[0]
                try:
                    got = answer(tmp + "/base", folder, ids)
                except RuntimeError as e:
                    failed += 1
                    print("FAIL %-9s %-18s %s" % (name, kind, e))
                    continue
                got = got[0] if want.dim() == 1 else got
                far, moved = float((got - want).abs().max()), float((plain - want).abs().max())
                bad = not far <= 1e-4 * max(1.0, float(want.abs().max())) or not moved > 1e-2
                failed += bad
                print("%s %-9s %-18s %.2g away, the adapter moves %.2g" % ("FAIL" if bad else "ok  ", name, kind, far, moved))
    failed += several(seed, g)
    print("%d failed" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
