"""Whatever a JSON schema or a pattern lets a model write satisfies it, by the word of another validator.

    python tests/interop/check_structured.py [--seconds 30] [--seed N]

Random schemas out of all the keywords that mltf knows; under each, a tiny random model samples a few texts at a high
temperature. Every text that ended must be JSON and satisfy the schema by the word of the jsonschema package. Schemas that
mltf refuses are counted, not judged. Patterns go through re.fullmatch, which takes for ever on some of them: counted too.
Exit status 0 if all were right, 77 if it cannot run.
"""
import collections, json, os, random, re, shutil, signal, subprocess, sys, tempfile, time

import fresh
from fresh import PARITY, T, torch
import jsonschema
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

PIECES = ['{"', '":', ' "', '",', '"}', "[]", "{}", " [", "true", "false", "null", "abc", "-1", "0.", "12"]


def make_model(folder, seed):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    visible = lambda s: "".join(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(s)[0][0])
    words = ["<pad>", "<s>", "</s>"] + alphabet + [visible(p) for p in PIECES]
    tk = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, []))
    tk.pre_tokenizer, tk.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    T.PreTrainedTokenizerFast(tokenizer_object=tk, bos_token="<s>", eos_token="</s>", pad_token="<pad>").save_pretrained(folder)
    torch.manual_seed(seed)
    cfg = T.GPT2Config(vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, n_positions=512, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    T.GPT2LMHeadModel(cfg).save_pretrained(folder)
    return {w: i for i, w in enumerate(words)}


# ------------------------------------------------------------------ schemas


class Draw(random.Random):
    def name(self):
        return self.choice(["a", "b", "c", "kind", "name", "é"])

    def value(self):
        return self.choice([1, 2, -3, "x", "kind", "", None, True, [1], {"a": 1}, 0.5])

    def number(self, kind):
        s = {"type": kind}
        a, b = sorted([self.choice([-20, -3, 0, 1, 7, 15, 100]), self.choice([-20, -3, 0, 1, 7, 15, 100])])
        if kind == "number" and self.random() < 0.5:
            a, b = a + self.choice([0, 0.5, 0.25, -0.125]), b + self.choice([0, 0.75, 1.0])
        if self.random() < 0.5:
            s[self.choice(["minimum", "exclusiveMinimum"])] = a
        if self.random() < 0.5:
            s[self.choice(["maximum", "exclusiveMaximum"])] = b
        if self.random() < 0.2:
            s["not"] = self.choice([{"const": 0}, {"enum": [1, 7, 0.5]}, {"minimum": 50}])
        if self.random() < 0.2:  # the validators divide doubles: steps that are sums of halves
            s["multipleOf"] = self.choice([1, 2, 3, 5, 7, 12, 100, 0.5, 0.25, 0.75])
        return s

    def string(self):
        s = {"type": "string"}
        for _ in range(self.choice([1, 1, 1, 2])):
            kind = self.random()
            if kind < 0.2:
                s["pattern"] = self.choice(["^[a-z]{1,3}$", "b", "^(yes|no)", "[0-9]+-x$"])
            elif kind < 0.4:
                s["minLength"], s["maxLength"] = self.choice([0, 1, 2]), self.choice([2, 5])
            elif kind < 0.5 and len(s) == 1:
                s["format"] = self.choice(["date", "time", "date-time", "uuid", "ipv4", "ipv6", "email", "hostname", "uri", "duration", "other"])
                return s
            elif kind < 0.7:
                s["not"] = self.choice([{"const": "x"}, {"enum": ["a", "ab", ""]}, {"pattern": "a"}, {"minLength": 3}, {"pattern": "^[a-c]*$", "maxLength": 2}])
        return s

    def object(self, depth):
        s = {"type": "object"}
        names = self.sample(["a", "b", "c", "kind", "name", "é"], self.choice([0, 1, 2, 3]))
        if names:
            s["properties"] = {n: self.schema(depth - 1) for n in names}
        if self.random() < 0.6:
            s["required"] = self.sample(names, self.randint(0, len(names))) + ([self.name()] if self.random() < 0.1 else [])
        if self.random() < 0.3:
            s["additionalProperties"] = self.choice([False, True, self.schema(0)])
        if self.random() < 0.2:
            s["patternProperties"] = {p: self.schema(0) for p in self.sample(["^x", "^[a-c]$", "a", "e$"], self.choice([1, 2]))}
        if self.random() < 0.1:
            s["propertyNames"] = self.choice([{"pattern": "^[a-d]+$"}, {"maxLength": 3}, {"enum": ["a", "b", "xa"]}, {"not": {"const": "a"}}])
        if self.random() < 0.1:
            s["unevaluatedProperties"] = self.choice([False, self.schema(0)])
        if self.random() < 0.15:
            s[self.choice(["minProperties", "maxProperties"])] = self.choice([0, 1, 2])
        if names and self.random() < 0.15:
            s["dependentRequired"] = {self.choice(names): [self.choice(names)]}
        if names and self.random() < 0.1:
            s["dependentSchemas"] = {self.choice(names): self.object(0)}
        if names and self.random() < 0.15:
            s["if"] = {"properties": {names[0]: self.choice([{"const": "x"}, {"type": "string"}, {"enum": [1, None]}])}}
            s["then"] = self.choice([{"required": names}, {"required": names[:1]}])
            if self.random() < 0.5:
                s["else"] = {"properties": {names[-1]: False}}
        if names and self.random() < 0.1:
            s["not"] = {"required": [self.choice(names)]}
        return s

    def array(self, depth):
        s = {"type": "array", "maxItems": self.choice([1, 2, 3, 4])}
        if self.random() < 0.6:
            s["items"] = self.schema(depth - 1)
        if self.random() < 0.3:
            s["prefixItems"] = [self.schema(depth - 1) for _ in range(self.choice([1, 2]))]
        if self.random() < 0.4:
            s["minItems"] = self.randint(0, s["maxItems"])
        if self.random() < 0.2:
            s["contains"] = self.schema(0)
            for key in ("minContains", "maxContains"):
                if self.random() < 0.3:
                    s[key] = self.choice([0, 1, 2])
        if self.random() < 0.1:
            s["unevaluatedItems"] = self.choice([False, self.schema(0)])
        if self.random() < 0.15:
            s["uniqueItems"] = True
        return s

    def schema(self, depth):
        kinds = ["integer", "number", "string", "string", "boolean", "null", "enum", "const", "list"]
        if depth > 0:
            kinds += ["object"] * 6 + ["array"] * 3 + ["anyOf", "anyOf", "oneOf", "oneOf", "allOf", "ref", "not"]
        kind = self.choice(kinds)
        if kind in ("integer", "number"):
            return self.number(kind)
        if kind == "string":
            return self.string()
        if kind == "enum":
            return {**({"type": self.choice(["string", "integer", "object"])} if self.random() < 0.3 else {}), "enum": [self.value() for _ in range(4)]}
        if kind == "const":
            return {"const": self.value()}
        if kind == "list":
            return {"type": self.sample(["integer", "string", "null", "boolean"], 2), "minimum": self.choice([0, 5])}
        if kind == "object":
            return self.object(depth)
        if kind == "array":
            return self.array(depth)
        if kind == "anyOf":
            base = self.object(depth) if self.random() < 0.4 else {}
            if "required" not in base and base.get("properties"):
                return {**base, "anyOf": [{"required": [n]} for n in base["properties"]]}
            return {"anyOf": [self.schema(depth - 1) for _ in range(2)]}
        if kind == "oneOf":
            if self.random() < 0.5:
                return {"oneOf": [{"type": "object", "properties": {"kind": {"const": v}, self.name(): self.schema(0)}, "required": ["kind"]} for v in ("x", "y")]}
            return {"oneOf": [self.schema(depth - 1) for _ in range(2)]}
        if kind == "allOf":
            same = self.choice([self.object, self.array])
            return {"allOf": [same(depth), same(depth)]}
        if kind == "ref":
            return {"$ref": "#/$defs/" + self.choice(["one", "tree"]), **({"description": "d"} if self.random() < 0.5 else {})}
        if self.random() < 0.5:
            same = self.choice([self.object, self.array])
            return {**same(depth), "not": same(depth - 1)}
        return {"not": self.choice([{"type": ["string", "array", "object"]}, {"anyOf": [{"type": "object"}, {"type": "array"}, {"const": None}]}, self.schema(depth - 1)])}

    def whole(self):
        tree = {"type": "object", "properties": {"v": self.schema(0), "kids": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/tree"}}}, "required": ["v"]}
        s = self.schema(3)
        return {**s, "$defs": {"one": self.schema(1), "tree": tree}}

    def pattern(self, depth=2):
        if depth == 0:
            return self.choice(["a", "b", "[a-c]", "[^x]", r"\d", r"\w", ".", "é", r"\.", "[0-9-]"])
        parts = [self.pattern(depth - 1) for _ in range(self.choice([1, 2, 3]))]
        inner = "(" + "|".join(parts) + ")" if self.random() < 0.4 else "".join(parts)
        return "(?:%s)%s" % (inner, self.choice(["", "?", "{0,3}", "{2}", "+"]))


# ------------------------------------------------------------------ what the schema says


def at_ends(s):
    """The schema with patterns as ECMAScript reads them: $ is the very end, and not also before a last newline."""
    end = lambda p: p[:-1] + r"\Z" if p.endswith("$") else p
    if isinstance(s, list):
        return [at_ends(x) for x in s]
    if not isinstance(s, dict):
        return s
    out = {k: at_ends(v) for k, v in s.items()}
    if isinstance(s.get("pattern"), str):
        out["pattern"] = end(s["pattern"])
    if isinstance(s.get("patternProperties"), dict):
        out["patternProperties"] = {end(k): at_ends(v) for k, v in s["patternProperties"].items()}
    return out


def satisfies(value, schema):
    schema = at_ends(schema)
    check = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).is_valid
    if schema.get("type") == "string" and "format" in schema:
        return check(value)
    # elsewhere an enum may list what does not have the format, and some schemas hold only for those who check formats
    return jsonschema.Draft202012Validator(schema).is_valid(value) or check(value)


class TooLong(Exception):
    """Raised out of re's search, which looks for signals."""


def too_long(*_):
    raise TooLong


def right(text, pattern, schema):
    signal.alarm(5)
    try:
        return bool(re.fullmatch(pattern, text)) if pattern else satisfies(json.loads(text), schema)
    except ValueError:
        return False
    finally:
        signal.alarm(0)


def main():
    signal.signal(signal.SIGALRM, too_long)
    a = fresh.start(fresh.parser(30))
    r = Draw(a.seed)
    folder = tempfile.mkdtemp(prefix="mltf-structured-")
    count, reasons = collections.Counter(), collections.Counter()
    try:
        ids = make_model(folder, a.seed)
        p = subprocess.Popen([PARITY, "--generate", folder, "float32"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ends = [[[ids[c]], 2.5] for c in '"}]' if c in ids] + [[[2], 3.0]]
        until = time.time() + a.seconds
        while time.time() < until:
            pattern = r.pattern() if r.random() < 0.15 else None
            schema = None if pattern else r.whole()
            form = {"type": "regex", "pattern": pattern} if pattern else {"type": "json_schema", "json_schema": {"schema": schema}}
            task = {"inputs": [[5, 6, 7]] * 4, "seed": r.randrange(1 << 30), "response_format": form,
                    "kwargs": {"do_sample": True, "top_k": 0, "temperature": 1.5, "max_new_tokens": 250, "num_return_sequences": 2, "sequence_bias": ends}}
            p.stdin.write(json.dumps(task) + "\n")
            p.stdin.flush()
            got = json.loads(p.stdout.readline() or '{"error": "died"}')
            if "error" in got:
                count["refused"] += 1
                reasons[re.sub(r'\d+|"[^"]*" (?=member)', "…", got["error"])] += 1
                continue
            for text, finish in zip(got["texts"], got["finish"]):
                if finish != 0:  # not at an end yet
                    count["unfinished"] += 1
                    continue
                try:
                    good = right(text, pattern, schema)
                except TooLong:
                    count["unjudged"] += 1
                    break
                count["checked"] += 1
                if not good:
                    count["wrong"] += 1
                    print("WRONG %s\n  text %s" % (pattern or json.dumps(schema), text), flush=True)
                    break
        p.stdin.close()
        p.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for reason, n in reasons.most_common(12):
        print("refused %4d times: %s" % (n, reason[:150]))
    print("%d texts checked, %d wrong; %d unfinished, %d not judged in time, %d schemas refused (MLTF_FRESH_SEED=%d)"
          % (count["checked"], count["wrong"], count["unfinished"], count["unjudged"], count["refused"], a.seed))
    return 1 if count["wrong"] or not count["checked"] else 0


if __name__ == "__main__":
    sys.exit(main())
