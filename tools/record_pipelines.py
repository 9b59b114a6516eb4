"""Record what transformers' pipelines answer to odd and ordinary calls on the tiny checkpoints of
tests/fixtures/models: one JSON object a line with model, task, input, kwargs and output, or error (class, words).
Everything is computed in float32. Made with transformers 4.57.6:

    python tools/record_pipelines.py > tests/fixtures/pipelines/cases.jsonl
"""
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
        ({"question": None, "context": CONTEXT}, {}), ({"question": [QUESTION], "context": [CONTEXT, CONTEXT]}, {})],
    ("bert-nli", "zero-shot-classification"): [
        ("The council met.", {"candidate_labels": ["a", "b", "c"]}), ("The council met.", {"candidate_labels": "a, b ,c,,"}),
        ("The council met.", {"candidate_labels": "a"}), ("x", {"candidate_labels": ["a", "b"], "multi_label": True}),
        ("x", {"candidate_labels": ["a", "b"], "multi_class": True}), (["x", "y"], {"candidate_labels": ["a", "b"], "hypothesis_template": "It is {}!"}),
        ("x", {"candidate_labels": []}), ("", {"candidate_labels": ["a"]}), ("x", {"candidate_labels": ["a"], "hypothesis_template": "none"}),
        (LONG * 3, {"candidate_labels": ["a", "b"]}), ("x", {"candidate_labels": ["a", "a"]}),
        ("x", {"candidate_labels": ["a", "b"], "hypothesis_template": "{{}} {0}"}), ([], {"candidate_labels": ["a"]})],
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


for (model, task), calls in CALLS.items():
    pipe = T.pipeline(task, model=os.path.join(MODELS, model), dtype=torch.float32)
    for given, kwargs in calls:
        row = {"model": model, "task": task, "input": given, "kwargs": kwargs}
        try:
            row["output"] = plain(call(pipe, task, json.loads(json.dumps(given)), json.loads(json.dumps(kwargs))))
        except Exception as e:
            row["error"] = type(e).__name__ + ": " + str(e)[:300]
        print(json.dumps(row, ensure_ascii=False))
        sys.stdout.flush()
