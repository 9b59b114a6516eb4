"""Texts of several windows: attention that sees a window computes what the library computes there too.

    python tests/interop/check_long.py [--seconds 60] [--only FAMILY ...] [--again SEED]

Encoders (longformer with and without global rows, led, modernbert): hidden states and answers of single texts and of
padded batches, judged by build/parity as in check_fresh_checkpoints.py. Decoders whose caches forget what lies behind
the window: greedy continuations of several windows must be the library's, up to the first choice that is too close.
Exit status 0 if nothing differed, 77 if it cannot run.
"""
import random, shutil, sys, tempfile

import fresh
from fresh import T, torch
import check_fresh_checkpoints as checks

WINDOWED = ["MistralForCausalLM", "Qwen2ForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Phi3ForCausalLM", "GptOssForCausalLM", "Cohere2ForCausalLM", "MinistralForCausalLM", "Starcoder2ForCausalLM", "GPTNeoForCausalLM"]


def encoder(r, **more):
    return dict(vocab_size=90, hidden_size=24, num_hidden_layers=2, num_attention_heads=r.choice([2, 3]), intermediate_size=40, max_position_embeddings=1400, num_labels=2, pad_token_id=1, sep_token_id=2, **more)


def windows(r):
    """The library pads to the widest: the others have to divide it. It cannot compute one of 2."""
    w = 2 * r.choice([2, 4, 9, 40, 70])
    return r.choice([[w, w], [w, 3 * w], [2 * w, w]])


def decoder(r, name):
    window = r.choice([3, 17, 60])
    kw = dict(vocab_size=90, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=r.choice([1, 2, 4]), intermediate_size=40, max_position_embeddings=2048, sliding_window=window, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    if name.startswith("Qwen2"):
        kw.update(use_sliding_window=True, max_window_layers=1)
    if name.startswith(("Gemma", "Cohere2", "GptOss", "Ministral")):
        kw.update(layer_types=[r.choice(["sliding_attention", "full_attention"]) for _ in range(2)] + ["sliding_attention"], head_dim=8)
    if name.startswith("GptOss"):
        kw.update(num_local_experts=4, num_experts_per_tok=2, rope_scaling=None)
    if name.startswith("GPTNeo"):
        kw = dict(vocab_size=90, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=window, max_position_embeddings=2048, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    return kw


FAMILIES = {
    "longformer": (["LongformerModel", "LongformerForMaskedLM", "LongformerForSequenceClassification", "LongformerForQuestionAnswering", "LongformerForTokenClassification"], lambda r, name: encoder(r, attention_window=windows(r))),
    "led": (["LEDForConditionalGeneration"], lambda r, name: dict(vocab_size=90, d_model=24, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=40, decoder_ffn_dim=40, attention_window=windows(r), max_encoder_position_embeddings=1400)),
    "modernbert": (["ModernBertModel", "ModernBertForSequenceClassification"], lambda r, name: {**encoder(r), **dict(num_attention_heads=2, local_attention=r.choice([4, 64, 128]), global_attn_every_n_layers=r.choice([1, 2, 3]), reference_compile=False, pad_token_id=0)}),
    "decoders": (WINDOWED, decoder),
}


def texts(r, cls, cfg):
    """Lengths that are no multiples of a window, and a batch of uneven ones."""
    pad, most = cfg.pad_token_id, 900
    row = lambda n: [r.randrange(4, cfg.vocab_size) for _ in range(n)]
    rows = [row(r.randrange(2, most)) for _ in range(4)]
    if cls.endswith("QuestionAnswering"):  # the question ends at the first separator; the library wants three
        for x in rows:
            x += row(9)
            for at in (r.randrange(1, 6), 6, len(x) - 1):
                x[at] = cfg.sep_token_id
    cases = {"long%d" % i: {"input_ids": torch.tensor([x])} for i, x in enumerate(rows[:3])}
    width = max(len(x) for x in rows)
    cases["batch"] = {"input_ids": torch.tensor([x + [pad] * (width - len(x)) for x in rows]), "attention_mask": torch.tensor([[1] * len(x) + [0] * (width - len(x)) for x in rows])}
    if cls.startswith("LED"):
        for c in cases.values():
            c["decoder_input_ids"] = torch.tensor([row(5) for _ in c["input_ids"]])
            c.setdefault("attention_mask", torch.ones_like(c["input_ids"]))
    return cases


def one(name, seed):
    """(what was drawn, a list of what is wrong)"""
    r = random.Random(seed)
    classes, options = FAMILIES[name]
    cls = r.choice(classes)
    words = "%s seed %d" % (cls, seed)
    model_class = getattr(T, cls)
    cfg = model_class.config_class(**options(r, cls))
    cfg._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = model_class(cfg).eval()
    checks.fill(model, checks.Draw(seed))
    folder = tempfile.mkdtemp(prefix="mltf-long-")
    try:
        model.save_pretrained(folder)
        if name == "decoders":
            prompt = torch.tensor([[r.randrange(4, 90) for _ in range(r.choice([1, 30, 200, 600]))]])
            return words, list(filter(None, [checks.check_greedy(model, folder, prompt, r.choice([60, 300]), "", True)]))
        checks.expect(model, texts(r, cls, cfg), folder, {"class": cls})
        done = checks.ask([folder], "")
        return words, [(done.stdout + done.stderr).strip()] if done.returncode else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    a, names = fresh.families(fresh.parser(60), FAMILIES)
    return fresh.run(a, names, one)


if __name__ == "__main__":
    sys.exit(main())
