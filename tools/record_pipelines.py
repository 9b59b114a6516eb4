"""Record what transformers' pipelines answer to odd and ordinary calls on the tiny checkpoints of
tests/fixtures/models: one JSON object a line with model, task, input, kwargs and output, or error (class, words).
Everything is computed in float32. Made with transformers 4.57.6:

    python tools/record_pipelines.py > tests/fixtures/pipelines/cases.jsonl
    python tools/record_pipelines.py --keywords > tests/fixtures/pipelines/keywords.jsonl

    python tools/record_pipelines.py --words > tests/fixtures/pipelines/byt5/cases.jsonl

The last asks bert-qa with the bytes of ByT5's tokenizer, which knows no offsets: answers are whole words. The second feeds every keyword that a pipeline's class takes, a call each, and stops where its table lacks one of them.
"here" in a row says where mltf means to differ: it "answers" or "fails" (in words of its own).
"""
import inspect
import json
import os
import sys
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers as T  # noqa: E402

T.logging.set_verbosity(60)
MODELS = os.path.join(os.path.dirname(__file__), "..", "tests", "fixtures", "models")
LONG = "The train from Lisbon to Porto leaves at noon and arrives at three. " * 12
NER = ["Anna Schmidt works for the Northwind Bakery in Hamburg.", "Ünïcödé Peter Novák  lives in 東京 near Prague 😀 ok",
       "x", " ", "Rain\nfell—on Tuesday, isn't it?"]
QUESTION = "Where does Anna work?"
CONTEXT = "Anna Schmidt works for the Northwind Bakery in Hamburg; Peter Novák lives in Prague near the old bridge."
FEW = dict(max_new_tokens=6, do_sample=False)
SIX = dict(max_new_tokens=6)
CHAT = [{"role": "user", "content": "Where?"}]
PREFILL = CHAT + [{"role": "assistant", "content": "The boats"}]
TABLE = {"City": ["Hamburg", "Prague", "Lisbon"], "People": ["1,800,000", "1300000", "545000"], "Founded": ["May 7, 1189", "885", "n/a"]}

CALLS = {
    ("bert-seqcls", "text-classification"): [
        ("hello", {"foo": 1}), ("hello", {"truncation": "bar"}), ("hi there friend", {"top_k": 0}), ("hi there friend", {"top_k": -1}),
        ("hi", {"top_k": 1}), (["hi"], {}), (["hi", "there"], {"top_k": 2}), ("hello there my friend", {"max_length": 4, "truncation": True}),
        ("hello there my friend", {"max_length": 4}), ("hello there my friend", {"padding": "max_length", "max_length": 20}), (5, {}),
        (None, {}), ([5], {}), ([], {}), ([["a", "b"]], {}), ([[["a", "b"]]], {}), ({"text": "a"}, {}), ({"text": "a", "text_pair": "b"}, {}),
        ({"text": "a", "x": 1}, {}), ({"x": 1}, {}), ({"text": ["a", "b"]}, {}), ("a", {"function_to_apply": "SIGMOID"}),
        ("a", {"return_all_scores": True}), ("a", {"return_all_scores": False}), (["a", "b c d", "e"], {"batch_size": 2}), (LONG, {"truncation": True}),
        ("a", {"add_special_tokens": False}), ([{"text": "a"}, "b"], {}), ("a\u0000b 😀 é", {"top_k": None})],
    ("bert-mlm", "fill-mask"): [
        ("a [MASK]", {"targets": ["house", "zzqq", "the"]}), ("a [MASK] b [MASK]", {"targets": ["the", "house", "old"], "top_k": 2}),
        (["a [MASK]"], {"top_k": 1}), ("a [MASK]", {"top_k": 0}), ("a [MASK]", {"targets": []}), ("a [MASK]", {"targets": "the"}),
        ("a [MASK]", {"foo": 1}), (["a [MASK]", "b [MASK] [MASK]"], {"top_k": 1}),
        ("a [MASK] " + "word " * 200, {"tokenizer_kwargs": {"truncation": True}, "top_k": 2}), ("a [MASK]", {"targets": ["the", "the"]}), ("none", {})],
    ("bert-tokcls", "token-classification"):
        [(t, {"aggregation_strategy": a}) for a in ("none", "simple", "first", "average", "max") for t in NER] + [
        (NER[:2], {"ignore_labels": []}), (NER[0], {"ignore_labels": ["I-LOC"], "aggregation_strategy": "simple"}),
        (NER[0], {"ignore_labels": ["LOC"], "aggregation_strategy": "simple"}), (LONG, {"stride": 8, "aggregation_strategy": "simple"}),
        (LONG, {"stride": 8, "aggregation_strategy": "max"}), (LONG, {"stride": 4, "aggregation_strategy": "none"}), (LONG, {"stride": 100000}),
        (LONG, {"stride": 8}), (NER[0], {"grouped_entities": True}), (NER[0], {"grouped_entities": True, "ignore_subwords": True}),
        (NER[0], {"ignore_subwords": True}), ([], {}), (5, {}), ("", {}), ([5], {}), (NER[0], {"foo": 1}),
        (["Anna", "Schmidt", "works", "in", "Hamburg"], {"is_split_into_words": True}),
        ([["Anna", "Schmidt"], ["Peter", "lives"]], {"is_split_into_words": True, "aggregation_strategy": "simple", "delimiter": "--"}),
        (["Änna", "Schmidt"], {"is_split_into_words": True, "aggregation_strategy": "first"})],
    ("bert-base", "feature-extraction"): [
        (["Rain.", "Sun"], {}), ("a b c d e f g h", {"truncation": True, "tokenize_kwargs": {"max_length": 4}}),
        ("a", {"truncation": True, "tokenize_kwargs": {"truncation": True}}), ("a", {"tokenize_kwargs": {"padding": "max_length", "max_length": 5}}),
        ("a", {"unknown": 1}), (5, {}), ([], {})],
    ("bert-qa", "question-answering"): [
        ({"question": QUESTION, "context": CONTEXT}, {}), ({"question": QUESTION, "context": CONTEXT}, {"top_k": 5}),
        ({"question": QUESTION, "context": CONTEXT}, {"top_k": 4, "align_to_words": False}),
        ({"question": QUESTION, "context": CONTEXT}, {"handle_impossible_answer": True, "top_k": 3}),
        ({"question": QUESTION, "context": LONG}, {"doc_stride": 8, "max_seq_len": 40, "top_k": 4}), ({"question": QUESTION, "context": LONG}, {"max_seq_len": 30}),
        ({"question": QUESTION, "context": CONTEXT}, {"max_answer_len": 1, "top_k": 3}), ({"question": [QUESTION, "Who?"], "context": CONTEXT}, {}),
        ({"question": [QUESTION, "Who?"], "context": [CONTEXT, "Rain fell. Rain Fell."]}, {"top_k": 2}),
        ([{"question": QUESTION, "context": CONTEXT}, {"question": "Who?", "context": "Peter Peter peter."}], {}),
        ({"question": "", "context": CONTEXT}, {}), ({"question": QUESTION}, {}), ({"question": QUESTION, "context": CONTEXT}, {"top_k": 0}),
        ({"question": QUESTION, "context": CONTEXT}, {"max_answer_len": 0}), ({"question": QUESTION, "context": CONTEXT}, {"doc_stride": 100, "max_seq_len": 50}),
        ({"question": None, "context": CONTEXT}, {}), ({"question": [QUESTION], "context": [CONTEXT, CONTEXT]}, {}),
        ({"question": "Who?", "context": "\u039f\u0394\u039f\u03a3 \u03bf\u03b4\u03bf\u03c3 \u03bf\u03b4\u03bf\u03c2"}, {"top_k": 5})],
    ("bert-nli", "zero-shot-classification"): [
        ("The council met.", {"candidate_labels": ["a", "b", "c"]}), ("The council met.", {"candidate_labels": "a, b ,c,,"}),
        ("The council met.", {"candidate_labels": "a"}), ("x", {"candidate_labels": ["a", "b"], "multi_label": True}),
        ("x", {"candidate_labels": ["a", "b"], "multi_class": True}), (["x", "y"], {"candidate_labels": ["a", "b"], "hypothesis_template": "It is {}!"}),
        ("x", {"candidate_labels": []}), ("", {"candidate_labels": ["a"]}), ("x", {"candidate_labels": ["a"], "hypothesis_template": "none"}),
        (LONG * 3, {"candidate_labels": ["a", "b"]}), ("x", {"candidate_labels": ["a", "a"]}),
        ("x", {"candidate_labels": ["a", "b"], "hypothesis_template": "{{}} {0}"}), ([], {"candidate_labels": ["a"]}),
        ("The council met.", {"candidate_labels": "\u3000a\u00a0,b,\u2003,c"}), ("The council met.", {"candidate_labels": ["a", "b"], "hypothesis_template": "{:>5} {{{0}}}"}),
        ("The council met.", {"candidate_labels": ["a", "b"], "hypothesis_template": "{0!r:*^9} {0}."}), ("The council met.", {"candidate_labels": ["a", "b"], "hypothesis_template": "{} or {}."})],
    ("t5-base", "text2text-generation"): [
        ("Rain fell.", SIX), (["Rain fell.", "The house"], SIX), ("Rain fell.", dict(SIX, num_beams=3, num_return_sequences=2)),
        (["Rain fell.", "b"], dict(SIX, num_return_sequences=2)), ("Rain fell.", dict(SIX, return_tensors=True)), ("Rain fell.", dict(SIX, foo=1)), (5, SIX),
        ("", SIX), ([], SIX), ("Rain", dict(SIX, stop_sequence="a")), ("Rain", dict(max_length=8, min_length=4, do_sample=False))],
    ("t5-base", "translation_en_to_de"): [("Rain fell.", SIX), ("Rain fell.", dict(SIX, src_lang="en", tgt_lang="fr"))],
    ("t5-base", "summarization"): [("Rain fell.", SIX), (["Rain fell.", "b"], dict(SIX, num_return_sequences=2))],
    ("tapas-base", "table-question-answering"): [
        ({"table": TABLE, "query": "How many people live in Prague?"}, {}), ({"table": TABLE, "query": ["Which city is older than 1000 years?", "in May 1189?"]}, {}),
        ({"table": TABLE, "query": ["Which city?", "and its people?"]}, {"sequential": True}), ({"table": TABLE, "query": ""}, {}),
        ({"table": {"a": ["word word"] * 15, "b": ["7"] * 15}, "query": "which of the seven words?"}, {})],
}
for model in ("gpt2-base", "llama-base"):
    CALLS[model, "text-generation"] = [
        ("The old", FEW), ("The old", dict(FEW, return_full_text=False)), ("The old", dict(FEW, return_text=True)),
        ("The old", dict(FEW, return_tensors=True, num_beams=2, num_return_sequences=2)), ("The old", dict(FEW, return_full_text=True, return_text=True)),
        ("The old", dict(FEW, return_full_text=True, return_tensors=True)), ("The old", dict(FEW, clean_up_tokenization_spaces=False)),
        ("The old", dict(FEW, skip_special_tokens=False)), ("The old", dict(FEW, foo=1, bar=None, baz=2)), ("The old", dict(max_new_tokens=0)),
        ("The old", dict(FEW, temperature=0.0, do_sample=True)), ("The old", dict(FEW, handle_long_generation="hole")),
        ("The old", dict(FEW, handle_long_generation="x")), ("The old " * 30, dict(FEW, handle_long_generation="hole")),
        ("The old", dict(FEW, stop_sequence="t")), ("The old", dict(FEW, prefix="Once ")), (["The", "Rain fell on"], FEW), ("", FEW), ([], FEW), (5, FEW),
        ({"a": "b"}, FEW), ("The old", dict(FEW, repetition_penalty=1.5, no_repeat_ngram_size=2)),
        ("The old", dict(FEW, num_beams=3, early_stopping=True, length_penalty=0.5)), ("The old", dict(FEW, add_special_tokens=False)),
        ("The old", dict(FEW, num_return_sequences=2)), ("Ünïcödé 😀", FEW)]
CALLS["llama-base", "text-generation"] += [
    (CHAT, FEW), (PREFILL, FEW), (PREFILL, dict(FEW, continue_final_message=False)), ([CHAT, CHAT], dict(FEW, return_full_text=False)),
    ([{"role": "user"}], FEW), (CHAT, dict(FEW, return_tensors=True)),
    (CHAT, dict(FEW, tokenizer_encode_kwargs={"chat_template": "{{ messages[0].content }}X"}))]


def plain(o):
    if isinstance(o, (torch.Tensor, np.ndarray)):
        return o.tolist()
    if isinstance(o, (np.floating, np.integer)):
        return o.item()
    if isinstance(o, dict):
        return {k: plain(v) for k, v in o.items()}
    return [plain(v) for v in o] if isinstance(o, (list, tuple)) else o


def call(pipe, task, given, kwargs):
    if task == "question-answering" and isinstance(given, dict):
        return pipe(**given, **kwargs)
    if task == "table-question-answering":
        import pandas as pd
        given = dict(given, table=pd.DataFrame.from_dict(given["table"]).astype(object))
    return pipe(given, **kwargs)


# ------------------------------------------------------------------ every keyword

ASK = {"question": QUESTION, "context": CONTEXT}
ONE_TABLE = {"table": TABLE, "query": "How many people live in Prague?"}
BASE = {"batch_size": [2, None], "num_workers": [0, 1], "unknown_keyword": [1]}
TOKENIZER = {
    "truncation": [True, False, "only_first", "do_not_truncate", "longest_first", None], "max_length": [4, None],
    "padding": [True, False, "longest", "max_length", "do_not_pad", None], "add_special_tokens": [False, True], "stride": [2],
    "pad_to_multiple_of": [8], "padding_side": ["left", "right"], "return_tensors": ["pt"], "return_token_type_ids": [False, True],
    "return_attention_mask": [False, True], "return_overflowing_tokens": [False], "return_special_tokens_mask": [False, True],
    "return_offsets_mapping": [False, True], "return_length": [False, True], "is_split_into_words": [False], "verbose": [False]}
GENERATE = {
    "max_length": [12], "max_new_tokens": [3, 0], "min_length": [9], "min_new_tokens": [2], "early_stopping": [True, "never"],
    "max_time": [60.0], "stop_strings": ["e", ["e", "o"]], "do_sample": [False], "num_beams": [2, 0], "use_cache": [False],
    "cache_implementation": ["static", "nonsense"], "cache_config": [None], "return_legacy_cache": [True], "prefill_chunk_size": [2],
    "temperature": [0.5, 0.0, -1.0], "top_k": [5, 0], "top_p": [0.5, 1.5], "min_p": [0.1], "typical_p": [0.9], "epsilon_cutoff": [0.1],
    "eta_cutoff": [0.1], "repetition_penalty": [1.3, -1.0], "encoder_repetition_penalty": [1.3], "length_penalty": [0.5],
    "no_repeat_ngram_size": [2], "bad_words_ids": [[[5], [6]], [], "x"], "renormalize_logits": [True], "forced_bos_token_id": [5],
    "forced_eos_token_id": [5, [5]], "remove_invalid_values": [True], "exponential_decay_length_penalty": [[2, 1.5]],
    "suppress_tokens": [[5, 6]], "begin_suppress_tokens": [[5, 6]], "sequence_bias": [[[[5], 2.0]]], "token_healing": [False],
    "guidance_scale": [1.5], "watermarking_config": [None], "num_return_sequences": [1, 2], "output_attentions": [True],
    "output_hidden_states": [True], "output_scores": [True], "output_logits": [True], "return_dict_in_generate": [False],
    "pad_token_id": [0, 7], "bos_token_id": [1], "eos_token_id": [5, [5, 6], []], "encoder_no_repeat_ngram_size": [2],
    "decoder_start_token_id": [1], "is_assistant": [False], "num_assistant_tokens": [5], "num_assistant_tokens_schedule": ["constant"],
    "assistant_confidence_threshold": [0.4], "prompt_lookup_num_tokens": [2], "max_matching_ngram_size": [2],
    "assistant_lookbehind": [10], "target_lookbehind": [10], "disable_compile": [True], "low_memory": [True], "penalty_alpha": [0.6],
    "dola_layers": ["low"], "diversity_penalty": [0.5], "num_beam_groups": [2], "constraints": [None], "force_words_ids": [[[5]]],
    "synced_gpus": [False], "logits_processor": [None], "stopping_criteria": [None], "prefix_allowed_tokens_fn": [None],
    "assistant_model": [None], "streamer": [None], "negative_prompt_ids": [None], "use_model_defaults": [True, False],
    "generation_config": [None, {"max_new_tokens": 2}], "seed": [1],
    "assistant_early_exit": []}  # transformers leaves the pipeline broken behind it
RETURNS = {"return_tensors": [True, False], "return_text": [True, False], "return_type": [0, 1, 2, 3],
           "clean_up_tokenization_spaces": [True, False, None], "stop_sequence": ["e", "xyzzy"]}
TEXT2TEXT = {**BASE, **RETURNS, "truncation": [True, False, "only_first", None]}
KEYWORDS = [  # model, task, input, kwargs of every call, keywords
    ("bert-seqcls", "text-classification", "hi there friend", {}, {
        **BASE, **TOKENIZER, "return_all_scores": [True, False, None], "top_k": [2, None, "all", -1, 1.5],
        "function_to_apply": ["sigmoid", "softmax", "none", "NONE", "x", None, 5]}),
    ("bert-tokcls", "token-classification", NER[0], {}, {
        **BASE, "ignore_labels": [[], ["O"], None, "O"], "grouped_entities": [True, False], "ignore_subwords": [True, False],
        "aggregation_strategy": ["none", "simple", "first", "average", "max", "MAX", "x", None], "offset_mapping": [None],
        "is_split_into_words": [False], "stride": [4, 0, None], "delimiter": ["-", None], "truncation": [True], "padding": [True]}),
    ("bert-mlm", "fill-mask", "a [MASK] b", {}, {
        **BASE, "top_k": [2, None, 10000, -1], "targets": [["the"], "house", None, ["zz zz"], 5],
        "tokenizer_kwargs": [{}, {"truncation": True}, None, {"foo": 1}], "truncation": [True], "return_tensors": ["pt"]}),
    ("bert-base", "feature-extraction", "Rain", {}, {
        **BASE, "truncation": [True, False, None], "return_tensors": [True, False, None], "padding": [True], "max_length": [3],
        "tokenize_kwargs": [{"max_length": 3, "truncation": True}, None, {"padding": "max_length", "max_length": 5}, {"foo": 1}]}),
    ("bert-qa", "question-answering", ASK, {}, {
        **BASE, "padding": [True, False, "longest", "max_length", "do_not_pad"], "topk": [2], "top_k": [2, None, 0, -1],
        "doc_stride": [4, 0, None], "max_answer_len": [2, 0, None], "max_seq_len": [30, 16, None, 1], "max_question_len": [3, None],
        "handle_impossible_answer": [True, False, None], "align_to_words": [False, True, None], "truncation": [True]}),
    ("bert-nli", "zero-shot-classification", "The council met.", {"candidate_labels": ["a", "b"]}, {
        **BASE, "candidate_labels": [["a", "b"], "a,b", None, 5], "hypothesis_template": ["It is {}.", "{}", None, 5, ""],
        "multi_label": [True, False, None], "multi_class": [True], "truncation": [True, "only_first", False], "top_k": [1]}),
    ("tapas-base", "table-question-answering", ONE_TABLE, {}, {
        **BASE, "sequential": [True, False], "padding": [True, False, "max_length", "longest", "do_not_pad", None],
        "truncation": [True, False, "drop_rows_to_fit", "do_not_truncate", None, "x"], "max_length": [5]}),
    ("t5-base", "text2text-generation", "Rain fell.", SIX, {**TEXT2TEXT, **GENERATE, "padding": [True], "src_lang": ["en"]}),
    ("t5-base", "summarization", "Rain fell on the old town for days.", SIX, {**TEXT2TEXT, "max_length": [8, 100], "min_length": [3, 50]}),
    ("t5-base", "translation_en_to_de", "Rain fell.", SIX, {**TEXT2TEXT, "src_lang": ["en", None], "tgt_lang": ["fr", None]}),
    ("gpt2-base", "text-generation", "The old", FEW, {
        **BASE, **RETURNS, **GENERATE, "return_full_text": [True, False, None], "prefix": ["Once ", "", None],
        "handle_long_generation": ["hole", None, "x"], "truncation": [True, False, "only_first", None], "max_length": [12, 3],
        "padding": [True, False, None, "max_length"], "add_special_tokens": [True, False, None], "continue_final_message": [True, False],
        "skip_special_tokens": [True, False, None], "tokenizer_encode_kwargs": [{}, {"max_length": 1, "truncation": True}, None, {"foo": 1}]}),
]
# what transformers fails on, or what it has only with remote code, and mltf does
ANSWERS = {"return_type", "stop_strings", "low_memory", "penalty_alpha", "seed", "force_words_ids"}
ANSWERS_OF = {("gpt2-base", "eos_token_id", "[]"), ("t5-base", "eos_token_id", "[]"), ("gpt2-base", "padding", "true"),
              ("gpt2-base", "padding", '"max_length"'), ("tapas-base", "batch_size", "2")}
# refused for its own reason; Python's words would say nothing
FAILS = {("function_to_apply", '"x"'), ("ignore_labels", '"O"'), ("aggregation_strategy", '"x"'), ("targets", "5"), ("num_beams", "0"),
         ("hypothesis_template", "null"), ("hypothesis_template", "5"), ("bad_words_ids", '"x"'), ("max_seq_len", "16"),
         ("return_tensors", '"pt"'), ("num_beam_groups", "2")}
FAILS_OF = {("fill-mask", "top_k", "-1"), ("t5-base", "guidance_scale", "1.5"), ("gpt2-base", "force_words_ids", "[[5]]")}


def outcome(model, task, key, value, row):
    text = json.dumps(value)
    if (key, text) in FAILS or (task, key, text) in FAILS_OF or (model, key, text) in FAILS_OF or (key == "generation_config" and value):
        return "fails"
    if "error" in row and (key in ANSWERS or (model, key, text) in ANSWERS_OF):
        return "answers"


def record(pipe, row, given, kwargs):
    torch.manual_seed(0)
    try:
        row["output"] = plain(call(pipe, row["task"], json.loads(json.dumps(given)), json.loads(json.dumps(kwargs))))
        json.dumps(row)
    except BaseException as e:  # the tokenizers' panic is no Exception
        row.pop("output", None)
        row["error"] = (type(e).__name__ + ": " + str(e).replace(MODELS, "MODELS"))[:300]
    return row


def keywords_of(cls):
    found = set()
    for method in (cls._sanitize_parameters, cls.preprocess, cls.postprocess):
        found |= {n for n, p in list(inspect.signature(method).parameters.items())[1:]
                  if p.kind != p.VAR_KEYWORD and p.kind != p.VAR_POSITIONAL and p.default is not p.empty}
    return found - {"prompt_text", "target_ids", "_legacy"}  # made by the class itself


if sys.argv[1:] == ["--words"]:
    tk = T.AutoTokenizer.from_pretrained(os.path.join(MODELS, "..", "pipelines", "byt5"))
    pipe = T.pipeline("question-answering", model=os.path.join(MODELS, "bert-qa"), tokenizer=tk, dtype=torch.float32)
    text = "Anna\u202fworks in  the mill.\nPeter naps, café"
    for question, context, kwargs in [
            ("</s>Who?", text, {"top_k": 3}), ("Who?", text, {"top_k": 2}), ("Who?", text + " mill", {"max_seq_len": 20, "top_k": 9}),
            ("</s>Who naps there?", text * 2, {"max_seq_len": 40, "doc_stride": 12, "top_k": 2, "max_question_len": 8}),
            ("</s>Who?", text, {"handle_impossible_answer": True, "top_k": 2, "max_answer_len": 4})]:
        given = {"question": question, "context": context}
        row = {"task": "question-answering", "input": given, "kwargs": kwargs}
        print(json.dumps(record(pipe, row, given, kwargs), ensure_ascii=False))
    sys.exit()
if sys.argv[1:] == ["--keywords"]:
    for model, task, given, fixed, table in KEYWORDS:
        pipe = T.pipeline(task, model=os.path.join(MODELS, model), dtype=torch.float32)
        missing = keywords_of(type(pipe)) - set(table)
        if "do_sample" in table:
            missing |= {k for k in T.GenerationConfig().to_dict() if k[0] != "_"} - set(table) - {"transformers_version"}
        if missing:
            sys.exit("%s: the table lacks %s" % (task, sorted(missing)))
        for key, values in table.items():
            for value in values:
                kwargs = {k: v for k, v in fixed.items() if key not in ("max_length", "min_length") or k != "max_new_tokens"}
                kwargs[key] = value
                row = record(pipe, {"model": model, "task": task, "input": given, "kwargs": kwargs}, given, kwargs)
                here = outcome(model, task, key, value, row)
                if here:
                    row["here"] = here
                print(json.dumps(row, ensure_ascii=False))
    sys.exit()

for (model, task), calls in CALLS.items():
    pipe = T.pipeline(task, model=os.path.join(MODELS, model), dtype=torch.float32)
    for given, kwargs in calls:
        row = record(pipe, {"model": model, "task": task, "input": given, "kwargs": kwargs}, given, kwargs)
        print(json.dumps(row, ensure_ascii=False))
        sys.stdout.flush()
