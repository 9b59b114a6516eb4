"""generate() of mltf against transformers' own, on fresh random checkpoints: same tokens, same scores.

    python tests/interop/check_generation.py [--seconds 60] [--only FAMILY ...] [--mode MODE ...] [--again SEED]

The seed is MLTF_FRESH_SEED, or the day's number; MLTF_FRESH_SECONDS bounds the time. Each turn draws a tiny model of a
family, a generation_config.json (or the same settings in config.json, as old checkpoints have them), and runs of
generate() with arguments drawn from all that GenerationConfig knows, on prompts of uneven lengths: here all prompts in
one batch, there one by one (a batch of the library counts its padding; see gen.h).

Sampling is compared to the last token as well: torch.multinomial is replaced by the draw that mltf makes from a seed, so
that whatever differs are the probabilities behind the filters. Scores of all steps (output_scores) are compared too.
Diverse beams, forced words and contrastive search left the library with 4.57 for a hub repository; for those the loops
below drive the scorers that the library still carries.

Not counted: runs in which the library's own float32 and float64 disagree, or in which a choice is closer than 1e-4 (rounding
may turn them), runs in which its scores become NaN, and its known defects (docs/differences.md): see known_defect().
Exit status 0 if nothing differed, 77 if it cannot run.
"""
import copy, json, math, os, random, shutil, subprocess, sys, tempfile, time

import fresh
from fresh import PARITY, T, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.generation.beam_constraints import DisjunctiveConstraint, PhrasalConstraint
from transformers.generation.beam_search import BeamSearchScorer, ConstrainedBeamSearchScorer
from transformers.generation.logits_process import HammingDiversityLogitsProcessor

CLOSE = 1e-4
V = 60
BOS, EOS, PAD = 1, 2, 0

# ------------------------------------------------------------------ models


def decoder(r, **more):
    heads = r.choice([2, 4])
    return dict(vocab_size=V, hidden_size=8 * heads, intermediate_size=r.choice([24, 40]), num_hidden_layers=r.choice([1, 2]), num_attention_heads=heads, num_key_value_heads=r.choice([1, heads]),
                max_position_embeddings=96, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, **more)


def windowed(r, **more):
    """Positions for texts of which a cache forgets the beginning."""
    return {**decoder(r, **more), "max_position_embeddings": 1024}


def seq2seq(r, **more):
    return dict(vocab_size=V, d_model=24, encoder_layers=r.choice([1, 2]), decoder_layers=r.choice([1, 2]), encoder_attention_heads=2, decoder_attention_heads=3, encoder_ffn_dim=40, decoder_ffn_dim=32,
                max_position_embeddings=96, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, decoder_start_token_id=2, forced_eos_token_id=r.choice([None, 2]), **more)


FAMILIES = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", lambda r: dict(vocab_size=V, n_embd=24, n_layer=r.choice([1, 2]), n_head=3, n_positions=96, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD)),
    "llama": ("LlamaForCausalLM", "LlamaConfig", decoder),
    "mistral": ("MistralForCausalLM", "MistralConfig", lambda r: windowed(r, sliding_window=r.choice([4, 7, 60]), head_dim=8)),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", lambda r: windowed(r, use_sliding_window=True, sliding_window=r.choice([4, 7]), max_window_layers=r.choice([0, 1]))),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", lambda r: windowed(r, head_dim=8, sliding_window=r.choice([4, 7]), query_pre_attn_scalar=8)),
    "xlnet": ("XLNetLMHeadModel", "XLNetConfig", lambda r: dict(vocab_size=V, d_model=24, n_layer=r.choice([1, 2]), n_head=3, d_inner=40, mem_len=r.choice([None, 6]), bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD)),
    "t5": ("T5ForConditionalGeneration", "T5Config", lambda r: dict(vocab_size=V, d_model=24, d_ff=40, d_kv=6, num_layers=r.choice([1, 2]), num_decoder_layers=r.choice([1, 2]), num_heads=4, feed_forward_proj=r.choice(["relu", "gated-gelu"]),
                                                                 decoder_start_token_id=PAD, eos_token_id=EOS, pad_token_id=PAD)),
    "bart": ("BartForConditionalGeneration", "BartConfig", seq2seq),
    "mbart": ("MBartForConditionalGeneration", "MBartConfig", lambda r: seq2seq(r, forced_bos_token_id=r.randrange(3, V))),
    "m2m_100": ("M2M100ForConditionalGeneration", "M2M100Config", seq2seq),
    "pegasus": ("PegasusForConditionalGeneration", "PegasusConfig", seq2seq),
    "led": ("LEDForConditionalGeneration", "LEDConfig", lambda r: {**seq2seq(r), **dict(attention_window=r.choice([4, 8]), max_encoder_position_embeddings=96, max_decoder_position_embeddings=96)}),
}
SEQ2SEQ = ("t5", "bart", "mbart", "m2m_100", "pegasus", "led")
LEARNED = ("gpt2", "bart", "mbart", "led")  # 96 positions, and none behind them
WINDOWED = ("mistral", "qwen2", "gemma2")


def make_tokenizer(r):
    """Pieces of one to three letters and blanks, so that stop strings begin and end inside tokens."""
    words = set("abcdefĠ")  # all single letters: the library's stop strings want to encode "abcdef"
    while len(words) < V - 3:
        words.add("".join(r.choice("abcdeĠ") for _ in range(r.choice([1, 1, 2, 3]))))
    vocab = {w: i for i, w in enumerate(["<pad>", "<s>", "</s>"] + sorted(words, key=lambda w: r.random()))}
    tk = Tokenizer(models.BPE(vocab, []))
    tk.pre_tokenizer, tk.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return T.PreTrainedTokenizerFast(tokenizer_object=tk, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def make_model(name, r, seed, folder):
    """Write the checkpoint; weights large enough that the best scores lie apart."""
    cls, config, options = FAMILIES[name]
    kw = options(r)
    cfg = getattr(T, config)(**kw)
    cfg._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = getattr(T, cls)(cfg)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() > 1:
                p.copy_(torch.randn_like(p) * (0.45 if name == "t5" else 0.35))
    model.eval().save_pretrained(folder)
    make_tokenizer(r).save_pretrained(folder)


# ------------------------------------------------------------------ arguments


def processors(r, name):
    tok = lambda: r.randrange(3, V)
    options = {
        "repetition_penalty": lambda: r.choice([1.2, 1.7, 0.8]),
        "encoder_repetition_penalty": lambda: r.choice([1.3, 0.7]),
        "no_repeat_ngram_size": lambda: r.choice([1, 2, 3]),
        "encoder_no_repeat_ngram_size": lambda: r.choice([1, 2, 3]),
        "bad_words_ids": lambda: [[tok()], [tok(), tok()], [EOS]][: r.choice([1, 2, 3])],
        "min_new_tokens": lambda: r.choice([3, 8]),
        "min_length": lambda: r.choice([4, 12]),
        "forced_eos_token_id": lambda: r.choice([tok(), [tok(), tok()]]),
        "forced_bos_token_id": tok,
        "suppress_tokens": lambda: [tok(), tok()],
        "begin_suppress_tokens": lambda: [tok() for _ in range(20)],
        "exponential_decay_length_penalty": lambda: [r.choice([1, 4]), r.choice([1.3, 1.05])],
        "remove_invalid_values": lambda: True,
        "renormalize_logits": lambda: True,
        "sequence_bias": lambda: [[[tok()], r.uniform(-3, 3)], [[tok(), tok()], 4.0]],
        "eos_token_id": lambda: r.choice([EOS, [EOS, tok()], [tok(), tok(), tok()]]),
        "guidance_scale": lambda: r.choice([1.5, 0.5, 3.0]),
        "stop_strings": lambda: ["".join(r.choice("abcde ") for _ in range(r.choice([1, 2, 3]))) for _ in range(r.choice([1, 2]))],
        "pad_token_id": lambda: r.choice([PAD, EOS, None]),
        "use_cache": lambda: False,
        "max_time": lambda: 1000.0,
        "watermarking_config": lambda: {"greenlist_ratio": r.choice([0.25, 0.5]), "bias": r.choice([2.0, 9.0]), "seeding_scheme": r.choice(["lefthash", "selfhash"]), "context_width": r.choice([1, 2, 4]), "hashing_key": r.choice([15485863, 7, 2**40 + 9])} if r.random() < 0.5 else
        {"ngram_len": r.choice([1, 2, 5]), "keys": [r.randrange(1000) for _ in range(r.choice([1, 9]))], "sampling_table_size": r.choice([100, 65536]), "sampling_table_seed": r.choice([0, 5]), "context_history_size": r.choice([1, 3, 1024]), "skip_first_ngram_calls": r.random() < 0.3},
        "output_scores": lambda: True,
        "prefill_chunk_size": lambda: r.choice([1, 3]),
    }
    if name in SEQ2SEQ:
        options.pop("guidance_scale")
        options.pop("prefill_chunk_size")
    return {k: options[k]() for k in r.sample(sorted(options), r.choice([0, 1, 2, 2, 3, 4]))}


def warpers(r):
    options = {
        "temperature": lambda: r.choice([0.3, 0.7, 1.5, 3.0]), "top_k": lambda: r.choice([0, 1, 5, 20, 1000]), "top_p": lambda: r.choice([0.3, 0.8, 0.95, 0.0]), "min_p": lambda: r.choice([0.01, 0.1, 0.5]),
        "typical_p": lambda: r.choice([0.2, 0.7, 0.95]), "epsilon_cutoff": lambda: r.choice([0.001, 0.05, 0.3]), "eta_cutoff": lambda: r.choice([0.001, 0.05, 0.5]),
    }
    return {k: options[k]() for k in r.sample(sorted(options), r.choice([0, 1, 1, 2, 3]))}


def beams(r):
    n = r.choice([2, 3, 5])
    return dict(num_beams=n, num_return_sequences=r.randint(1, n), length_penalty=r.choice([1.0, 0.0, 2.0, -0.7]), early_stopping=r.choice([True, False, "never"]))


def lengths(r, longest):
    kind = r.choice(["new", "new", "length", "default"])
    if kind == "new":
        return {"max_new_tokens": r.choice([1, 5, 12, 20])}
    return {"max_length": longest + r.choice([1, 6, 15])} if kind == "length" else {}


WIDE = ("beam", "beam-sample", "groups", "forced")
MODES = ["greedy", "greedy", "sample", "sample", "sample", "beam", "beam", "beam-sample", "groups", "forced", "contrastive", "lookup", "assisted"]


def draw_case(r, name, mode, longest, model_config):
    kw = {**lengths(r, longest), **processors(r, name), "do_sample": mode in ("sample", "beam-sample")}
    if mode in ("sample", "beam-sample"):
        kw.update(warpers(r))
    if mode == "sample":
        kw["num_return_sequences"] = r.choice([1, 1, 3])
    if mode in ("beam", "beam-sample", "groups", "forced"):
        kw.update(beams(r))
    if mode in ("groups", "forced", "contrastive"):
        kw.pop("max_length", None)
        kw["max_new_tokens"] = r.choice([5, 12, 20])
        for key in ("stop_strings", "guidance_scale", "pad_token_id", "min_length", "use_cache", "prefill_chunk_size"):
            kw.pop(key, None)
    if mode == "groups":
        kw.update(num_beams=6, num_beam_groups=r.choice([2, 3]), diversity_penalty=r.choice([0.5, 2.0]), num_return_sequences=r.randint(1, 6))
    if mode == "forced":
        kw["force_words_ids"] = [[r.randrange(3, V), r.randrange(3, V)], [[r.randrange(3, V)], [r.randrange(3, V), r.randrange(3, V)]]][: r.choice([1, 2])]
        for key in ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_eos_token_id", "forced_bos_token_id"):
            kw.pop(key, None)  # a forbidden word cannot be forced: scores are -inf, orders arbitrary
    if isinstance(kw.get("forced_eos_token_id"), list) and (mode != "greedy"):
        kw["forced_eos_token_id"] = kw["forced_eos_token_id"][0]  # all of them are equally good
    if mode == "contrastive":
        kw.update(top_k=r.choice([2, 5]), penalty_alpha=r.choice([0.3, 0.8]))
        kw.update(forced_eos_token_id=None, forced_bos_token_id=None)  # the other candidates are all impossible: any may be drawn
    if mode == "lookup":
        kw.update(prompt_lookup_num_tokens=r.choice([2, 5]), max_matching_ngram_size=r.choice([1, 2, 3]))
    if mode in ("lookup", "assisted"):
        kw.pop("use_cache", None)
        kw.pop("guidance_scale", None)
    if mode in ("beam", "beam-sample"):
        kw.pop("guidance_scale", None)
    if mode in WIDE:
        kw.pop("encoder_repetition_penalty", None)
        kw.pop("encoder_no_repeat_ngram_size", None)
    if "use_cache" in kw:
        kw.pop("prefill_chunk_size", None)
    return kw


def known_defect(name, mode, kw, settings):
    """Combinations in which the library does not do what it says."""
    said = {**settings, **kw}
    bans_eos = ("min_new_tokens", "min_length", "forced_eos_token_id", "forced_bos_token_id", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size")
    if said.get("exponential_decay_length_penalty") and not said.get("remove_invalid_values") and (any(said.get(k) for k in bans_eos) or name in SEQ2SEQ):
        return "an eos token that is forbidden gets the score NaN and is taken"
    wide = mode in WIDE or said.get("num_return_sequences", 1) > 1
    if wide and said.get("encoder_repetition_penalty", 1) != 1:
        return "encoder_repetition_penalty reaches the first beam only"
    if wide and said.get("encoder_no_repeat_ngram_size", 0):
        return "encoder_no_repeat_ngram_size fails or reaches the first beam only"
    if "ngram_len" in (said.get("watermarking_config") or {}) and mode in WIDE + ("lookup", "assisted"):
        return "the contexts of SynthID stay with the row when beams move, and count calls that are taken back"
    if name == "xlnet" and (mode in ("groups", "forced", "contrastive", "lookup", "assisted") or said.get("guidance_scale", 1) != 1):
        return "scores of the next token come from queries that only the library's generate() knows, one a pass"
    if said.get("guidance_scale", 1) != 1:
        if mode in ("beam", "beam-sample"):
            return "the cache of the unconditional prompt does not follow the beams"
        if name in SEQ2SEQ or mode in ("lookup", "assisted"):
            return "guidance needs one token a step of a decoder"
    return None


# ------------------------------------------------------------------ the draws of mltf (gen_math.c)


def uniform(seed, sequence, step, draw):
    mask, ctr, key = 0xFFFFFFFF, [step, draw, sequence, 0x6D6C7466], [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * ctr[0], 0xCD9E8D57 * ctr[2]
        ctr = [(b >> 32) ^ ctr[1] ^ key[0], b & mask, (a >> 32) ^ ctr[3] ^ key[1], a & mask]
        key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
    return ((ctr[0] << 32 | ctr[1]) >> 11) * 2.0**-53


class Draws:
    """torch.multinomial while it is in force: the same draws as mltf's from a seed."""

    def __init__(self, seed, beams):
        self.seed, self.beams, self.step, self.real = seed, beams, 0, torch.multinomial

    def __enter__(self):
        torch.multinomial = self.draw
        return self

    def __exit__(self, *a):
        torch.multinomial = self.real

    def draw(self, probs, num_samples):
        step, self.step = self.step, self.step + 1
        if self.beams > 1:
            p = probs[0].double()
            key = torch.full_like(p, -math.inf)
            for i in p.nonzero()[:, 0].tolist():
                b, token = divmod(i, len(p) // self.beams)
                u = uniform(self.seed, b, step, token + 1)
                key[i] = math.log(p[i]) - math.log(-math.log(u or 2.0**-54))
            if int((p > 0).sum()) < num_samples:
                raise RuntimeError("invalid multinomial distribution")  # what the real one says
            return key.topk(num_samples).indices[None]
        out = []
        for row, p in enumerate(probs.double()):
            total = p.cumsum(0)
            out.append(int((total > uniform(self.seed, row, step, 0) * total[-1]).nonzero()[0]))
        return torch.tensor(out)[:, None]


# ------------------------------------------------------------------ the library


class Steps:
    """The model step by step without a cache, as an old-style loop needs it."""

    def __init__(self, model, inputs):
        self.m, self.t5 = model, model.config.is_encoder_decoder
        self.ids = inputs if not self.t5 else torch.full((1, 1), model.generation_config.decoder_start_token_id)
        self.enc = model.get_encoder()(inputs) if self.t5 else None
        self.prompt = self.ids.shape[1]

    def logits(self, ids, hidden=False):
        if self.m.config.model_type == "m2m_100" and (ids[:, self.prompt :] == PAD).any():
            raise Closely()  # its positions skip padding within one call, so that a cache changes what follows
        if self.t5:
            h = self.enc.last_hidden_state.expand(ids.shape[0], -1, -1)
            kw = dict(encoder_outputs=T.modeling_outputs.BaseModelOutput(last_hidden_state=h), decoder_input_ids=ids)
        else:
            kw = dict(input_ids=ids)
        o = self.m(**kw, output_hidden_states=hidden, use_cache=False)
        return o.logits[:, -1], ((o.decoder_hidden_states if self.t5 else o.hidden_states)[-1] if hidden else None)


def prepared(model, kw, steps, inputs):
    g = copy.deepcopy(model.generation_config)
    g.update(**{k: v for k, v in kw.items() if k not in ("num_beam_groups", "diversity_penalty", "force_words_ids", "penalty_alpha")})
    g.max_length = steps.prompt + kw["max_new_tokens"]
    eos = torch.tensor(g.eos_token_id).reshape(-1)
    g._eos_token_tensor = eos
    if g.min_new_tokens:
        g.min_length = g.min_new_tokens + steps.prompt
    return g, eos, model._get_logits_processor(g, input_ids_seq_length=steps.prompt, encoder_input_ids=inputs, device="cpu")


def group_beams(model, inputs, kw):
    s = Steps(model, inputs)
    g, eos, process = prepared(model, kw, s, inputs)
    n, groups = kw["num_beams"], kw["num_beam_groups"]
    size = n // groups
    diversity = HammingDiversityLogitsProcessor(kw["diversity_penalty"], n, groups)
    scorer = BeamSearchScorer(1, n, "cpu", length_penalty=g.length_penalty, do_early_stopping=g.early_stopping, num_beam_hyps_to_keep=g.num_return_sequences, num_beam_groups=groups, max_length=g.max_length)
    ids = s.ids.repeat(n, 1)
    beam_scores = torch.full((n,), -1e9)
    beam_scores[::size] = 0
    while True:
        current = torch.zeros(n, dtype=torch.long)
        logits, _ = s.logits(ids)
        rows = []
        for gi in range(groups):
            a, b = gi * size, (gi + 1) * size
            scores = torch.log_softmax(logits[a:b].float(), -1)
            scores = diversity(ids[a:b], scores, current_tokens=current, beam_group_idx=gi)
            scores = process(ids[a:b], scores) + beam_scores[a:b, None]
            top, at = torch.topk(scores.view(1, -1), max(2, 1 + len(eos)) * size, dim=1)
            out = scorer.process(ids[a:b], top, at % V, at // V, pad_token_id=PAD, eos_token_id=eos, group_index=gi, decoder_prompt_len=s.prompt)
            beam_scores[a:b] = out["next_beam_scores"]
            rows.append(ids[a:b][out["next_beam_indices"]])
            current[a:b] = out["next_beam_tokens"]
        ids = torch.cat([torch.cat(rows), current[:, None]], -1)
        if scorer.is_done or ids.shape[1] >= g.max_length:
            break
    out = scorer.finalize(ids, beam_scores, at, at, pad_token_id=PAD, eos_token_id=eos, max_length=g.max_length, decoder_prompt_len=s.prompt)
    return out["sequences"].tolist(), out["sequence_scores"].tolist(), None


def forced_words(model, inputs, kw):
    s = Steps(model, inputs)
    g, eos, process = prepared(model, kw, s, inputs)
    n = kw["num_beams"]
    constraints = [DisjunctiveConstraint(w) if isinstance(w[0], list) else PhrasalConstraint(w) for w in kw["force_words_ids"]]
    scorer = ConstrainedBeamSearchScorer(1, n, constraints, "cpu", length_penalty=g.length_penalty, do_early_stopping=g.early_stopping, num_beam_hyps_to_keep=g.num_return_sequences, max_length=g.max_length)
    ids = s.ids.repeat(n, 1)
    beam_scores = torch.full((n,), -1e9)
    beam_scores[0] = 0
    while True:
        logits, _ = s.logits(ids)
        scores = process(ids, torch.log_softmax(logits.float(), -1)) + beam_scores[:, None]
        every = scores.clone()
        top, at = torch.topk(scores.view(1, -1), max(2, 1 + len(eos)) * n, dim=1)
        out = scorer.process(ids, top, at % V, at // V, every, pad_token_id=PAD, eos_token_id=eos, decoder_prompt_len=s.prompt)
        beam_scores = out["next_beam_scores"]
        ids = torch.cat([ids[out["next_beam_indices"]], out["next_beam_tokens"][:, None]], -1)
        if scorer.is_done or ids.shape[1] >= g.max_length:
            break
    out = scorer.finalize(ids, beam_scores, at, at, pad_token_id=PAD, eos_token_id=eos, max_length=g.max_length, decoder_prompt_len=s.prompt)
    return out["sequences"].tolist(), out["sequence_scores"].tolist(), None


def contrastive(model, inputs, kw):
    s = Steps(model, inputs)
    g, eos, process = prepared(model, kw, s, inputs)
    k, alpha, ids = kw["top_k"], kw["penalty_alpha"], s.ids
    while ids.shape[1] < g.max_length:
        logits, hidden = s.logits(ids, True)
        probs, cand = torch.softmax(process(ids, logits.float()), -1).topk(k)
        _, h = s.logits(torch.cat([ids.repeat(k, 1), cand.T], -1), True)
        context, new = hidden[0], h[:, -1]
        cos = (context / context.norm(dim=-1, keepdim=True)) @ (new / new.norm(dim=-1, keepdim=True)).T
        score = (1 - alpha) * probs[0] - alpha * cos.max(0).values
        best = score.topk(2).values
        if not best[0] - best[1] >= CLOSE:  # nor is there a best one where every token is banned
            raise Closely()
        ids = torch.cat([ids, cand[:, score.argmax()][:, None]], -1)
        if ids[0, -1].item() in eos.tolist():
            break
    return ids.tolist(), None, None


class Closely(Exception):
    """Too near to call."""


def library(model, inputs, kw, mode, seed, more):
    with Draws(seed, kw.get("num_beams", 1)):
        kw = {k: v for k, v in kw.items() if k != "output_scores"}
        out = model.generate(inputs, return_dict_in_generate=True, output_scores=True, **kw, **more)
    if mode in ("greedy", "lookup", "assisted"):
        for step in out.scores:
            top = step[0].topk(2).values
            if torch.isfinite(top).all() and (top[0] - top[1]).item() < CLOSE:
                raise Closely()
    return out.sequences.tolist(), (out.sequences_scores.tolist() if "sequences_scores" in out else None), [s.tolist() for s in out.scores]


def reference(model, inputs, kw, mode, seed, more):
    """What the library gives, if it gives the same in float64."""
    special = {"groups": group_beams, "forced": forced_words, "contrastive": contrastive}.get(mode)
    if mode in ("lookup", "assisted"):
        # proposals may not change the text: the library's own run without them counts, since with them it stops at
        # once where a decoder starts from the eos token
        kw = {k: v for k, v in kw.items() if k not in ("prompt_lookup_num_tokens", "max_matching_ngram_size")}
    run = (lambda: special(model, inputs, kw)) if special else (lambda: library(model, inputs, kw, mode, seed, more))
    with torch.no_grad():
        answer = run()
        if mode in ("beam", "beam-sample", "sample", "groups", "forced"):
            model.double()
            try:
                if run()[0] != answer[0]:
                    raise Closely()
            finally:
                model.float()
    return answer


# ------------------------------------------------------------------ comparing


def strip(row, eos, pad, prompt):
    """Padding behind the first eos is not ours to give."""
    for i in range(prompt, len(row)):
        if row[i] in eos:
            return row[: i + 1]
    while len(row) > prompt and row[-1] == pad:
        row = row[:-1]
    return row


def same_scores(want, got, mode):
    """Scores of a step, both lists over the vocabulary; null for what cannot come."""
    for x, y in zip(want, got):
        if y is None:
            if math.isfinite(x) and abs(x) < 1e30:
                return False
            continue
        if not abs(x - y) <= 1e-4 * (1 + abs(x)):
            return False
    return True


STOP_STRING = 2  # gen_finish


def floored(scores, floor):
    return [x if x is None or x == -math.inf else max(x, floor) for x in scores]


def compare(want, got, mode, prompt, eos, pad, floor=-math.inf, stops=False):
    """None, or what differs. `want`: one input's answer; `got`: (sequences, scores, {(row, step): scores}, finish)."""
    rows, mine = [strip(x, eos, pad, prompt) for x in want[0]], [strip(x, eos, pad, prompt) for x in got[0]]
    for i, (x, y) in enumerate(zip(rows, mine)):
        if got[3][i] == STOP_STRING and mode in WIDE and len(x) > len(y) and x[: len(y)] == y and set(x[len(y) :]) <= {pad, eos[0]}:
            rows[i] = y  # what the library's beams pad with, where the padding id is 0
    if rows != mine:
        return "sequences\n  want %s %s\n  got  %s %s" % (rows, want[1], mine, got[1])
    if want[1] is not None and not all(abs(x - y) < 1e-4 * (1 + abs(x)) for x, y in zip(want[1], got[1])):
        return "sequences_scores\n  want %s\n  got  %s" % (want[1], got[1])
    for (row, step), scores in got[2].items():
        if want[2] is None or step >= len(want[2]) or mode.startswith("beam") and (row and not step):
            continue  # the library shows copies of the first beam
        if row and stops and mode in WIDE:
            continue  # which ended beams fill up for live ones is a draw: all of them score -1e9
        if not same_scores(floored(want[2][step][row], floor), floored(scores, floor), mode):
            return "scores of row %d at step %d\n  want %s\n  got  %s" % (row, step, want[2][step][row], scores)
    return None


class Mltf:
    """One process of parity --generate, a case a line."""

    def __init__(self, folder):
        self.p = subprocess.Popen([PARITY, "--generate", folder, "float32"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, task):
        self.p.stdin.write(json.dumps(task) + "\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline() or '{"error": "died"}')

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def one_model(name, seed, count, until, modes):
    r = random.Random(seed)
    folder = tempfile.mkdtemp(prefix="mltf-generate-")
    try:
        draft_folder = os.path.join(folder, "draft")
        make_model(name, r, seed, folder)
        make_model(name, r, seed + 1, draft_folder)
        # the model's own settings, in the file of today or in config.json as it was before 4.26
        settings = {} if r.random() < 0.5 else {k: v for k, v in processors(r, name).items() if not (k == "forced_eos_token_id" and isinstance(v, list)) and k not in ("stop_strings", "guidance_scale", "output_scores", "max_time", "pad_token_id", "prefill_chunk_size")}
        if r.random() < 0.3:
            settings["max_length"] = r.choice([9, 30])
        if "ngram_len" in settings.get("watermarking_config", {}):
            del settings["watermarking_config"]  # the library takes SynthID from a call alone
        config = json.load(open(folder + "/config.json"))
        if r.random() < 0.3:
            os.remove(folder + "/generation_config.json")
            settings = {k: v for k, v in settings.items() if k not in ("sequence_bias", "exponential_decay_length_penalty")}
            json.dump({**config, **settings}, open(folder + "/config.json", "w"))
        else:
            own = json.load(open(folder + "/generation_config.json"))
            json.dump({**own, **settings}, open(folder + "/generation_config.json", "w"))
        cls = getattr(T, FAMILIES[name][0])
        model = cls.from_pretrained(folder, attn_implementation="eager").eval()
        tk = T.AutoTokenizer.from_pretrained(folder)
        mine = Mltf(folder)
        try:
            for _ in range(12):
                if time.time() > until:
                    break
                mode = r.choice(modes)
                if mode == "assisted" and name in SEQ2SEQ:
                    continue
                inputs = [[r.randrange(3, V) for _ in range(r.choice([1, 4, 9, 14]))] for _ in range(r.choice([1, 2, 3]))]
                if name in WINDOWED and r.random() < 0.25:
                    inputs[0] = [r.randrange(3, V) for _ in range(r.choice([380, 500, 700]))]
                if name in LEARNED and r.random() < 0.1:  # to the end of the positions and past it
                    inputs = [[r.randrange(3, V) for _ in range(r.choice([77, 91, 92, 95, 96, 97]))]]
                kw = draw_case(r, name, mode, 1 if name in SEQ2SEQ else max(len(x) for x in inputs), settings)
                one_case(name, mode, model, draft_folder, tk, mine, inputs, kw, settings, r.randrange(1 << 40), count, r)
        finally:
            mine.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def watermark(v):
    return (T.SynthIDTextWatermarkingConfig if "ngram_len" in v else T.WatermarkingConfig)(**v)


def one_case(name, mode, model, draft_folder, tk, mine, inputs, kw, settings, seed, count, r):
    why = known_defect(name, mode, kw, settings)
    if why:
        count["defect"] += 1
        return
    task = {"inputs": inputs, "kwargs": kw, "seed": seed, "output_scores": mode not in ("groups", "forced", "contrastive")}
    if kw.get("guidance_scale", 1) != 1 and r.random() < 0.5:
        task["negative"] = [[r.randrange(3, V) for _ in range(r.choice([1, 5]))] for _ in inputs]
    if mode == "assisted":
        task["assistant"] = draft_folder
    answers, refused = [], None
    for i, row in enumerate(inputs):
        more = {}
        stops = kw.get("stop_strings")
        if stops and name in SEQ2SEQ:  # generate() hands the tokenizer on to their forward(), which does not know it
            more["stopping_criteria"] = T.StoppingCriteriaList([T.StopStringCriteria(tokenizer=tk, stop_strings=stops)])
        elif stops:
            more["tokenizer"] = tk
        if "negative" in task:
            more["negative_prompt_ids"] = torch.tensor([task["negative"][i]])
        try:
            their = {k: ({tuple(a): b for a, b in v} if k == "sequence_bias" else watermark(v) if k == "watermarking_config" else v) for k, v in kw.items() if not (k == "stop_strings" and "stopping_criteria" in more)}
            want = reference(model, torch.tensor([row]), their, mode, seed, more)
            if want[1] and not all(abs(x) < 1e8 for x in want[1]):
                raise Closely()
        except Closely:
            count["close"] += 1
            return
        except (ValueError, RuntimeError, IndexError, KeyError, TypeError, AttributeError) as e:
            refused = "%s: %s" % (type(e).__name__, e)
            if os.environ.get("DEBUG_REFUSED"): print("REFUSED", mode, refused[:150])
            break
        answers.append(want)
    got = mine.ask(task)
    if refused:
        count["refused"] += 1
        if "error" not in got and "index out of range in self" in refused:
            count["wrong"] += 1
            print("WRONG %s %s: the library has no positions left, mltf answers %s" % (name, mode, json.dumps(task)))
        if "error" not in got and refused.startswith("ValueError"):
            count["lenient"] += 1
            print("only the library refuses: %s %s %s: %s" % (name, mode, json.dumps(kw), refused.split("\n")[0][:160]))
        return
    count["done"] += 1
    wrong = got.get("error")
    # SynthID multiplies with 1 minus a sum that may be almost 1: what is left of the unlikely ones is rounding
    floor = -12 if "ngram_len" in ({**settings, **kw}.get("watermarking_config") or {}) else -math.inf
    eos = {**settings, **kw}.get("eos_token_id", EOS)
    eos = eos if isinstance(eos, list) else [eos]
    pad = kw.get("pad_token_id", PAD)
    per = len(got.get("sequences", [])) // len(inputs)
    for i, want in enumerate(answers):
        if wrong:
            break
        steps = {(row, step): scores for at, row, step, scores in got.get("steps", []) if at == i}
        wrong = compare(want, (got["sequences"][i * per : (i + 1) * per], got["scores"][i * per : (i + 1) * per], steps, got["finish"][i * per : (i + 1) * per]), mode, 1 if name in SEQ2SEQ else len(inputs[i]), eos, eos[0] if pad is None else pad, floor, bool(stops))
    if wrong:
        count["wrong"] += 1
        print("WRONG %s %s settings %s\n  task %s\n  %s" % (name, mode, json.dumps(settings), json.dumps(task), wrong), flush=True)


def main():
    ap = fresh.parser(60)
    ap.add_argument("--mode", nargs="*", default=[])
    a, names = fresh.families(ap, FAMILIES)
    count = dict(done=0, wrong=0, close=0, refused=0, lenient=0, defect=0)
    until, turn = time.time() + a.seconds, 0
    while time.time() < until:
        name = names[turn % len(names)]
        seed = fresh.seed_of(a, name, turn)
        turn += 1
        before = count["wrong"]
        one_model(name, seed, count, until, [m for m in MODES if not a.mode or m in a.mode])
        if count["wrong"] > before:
            print("FAIL %s --again %d" % (name, seed), flush=True)
        if a.again:
            break
    print("%d models, %d runs compared, %d wrong; %d too close, %d refused by the library (%d of them not here), %d known defects (MLTF_FRESH_SEED=%d)"
          % (turn, count["done"], count["wrong"], count["close"], count["refused"], count["lenient"], count["defect"], a.seed))
    return 1 if count["wrong"] or not count["done"] else 0


if __name__ == "__main__":
    sys.exit(main())
