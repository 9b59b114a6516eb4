"""The store is shared: what mltf logs, the real client sees; what Python logs into the same mlflow.db, mltf serves."""
import json, os, subprocess, sys, tempfile

MLTF, MODELS = os.environ["MLTF"], os.environ["MODELS"]
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "models")
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
    os.environ.pop(name, None)
os.chdir(tempfile.mkdtemp(prefix="mltf-store-"))


def mltf(*args, stdin=None):
    r = subprocess.run([MLTF, *args], input=stdin, capture_output=True, text=True)
    assert r.returncode == 0, f"mltf {' '.join(args)}: exit {r.returncode}: {r.stderr}"
    return r.stdout


def close(a, b):
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float):
        return abs(a - b) <= 1e-4 * max(abs(a), abs(b), 1e-3)
    return a == b


info = json.loads(mltf("models", "log", "-m", os.path.join(FIXTURES, "bert-seqcls"), "--name", "clf", "--task",
                       "text-classification", "--experiment-name", "nlp", "--registered-model-name", "clf", "--alias",
                       "champion", "--model-config", '{"function_to_apply": "sigmoid"}', "--params", '{"lr": "0.1"}',
                       "--tags", '{"team": "nlp"}', "--run-name", "first"))

import mlflow  # noqa: E402  (after mltf made the database: it must be accepted as it is)
import pandas as pd  # noqa: E402

client = mlflow.MlflowClient()
assert mlflow.get_tracking_uri().startswith("sqlite:///"), mlflow.get_tracking_uri()
runs = mlflow.search_runs(experiment_names=["nlp"])
assert len(runs) == 1 and runs.iloc[0]["status"] == "FINISHED" and runs.iloc[0]["run_id"] == info["run_id"], runs.T
assert runs.iloc[0]["params.function_to_apply"] == "sigmoid", runs.T
models = client.search_logged_models(experiment_ids=[info["experiment_id"]])
assert [m.model_id for m in models] == [info["model_id"]] and str(models[0].status) == "READY", models
assert models[0].params["lr"] == "0.1" and models[0].tags["team"] == "nlp", models[0]
run = client.get_run(info["run_id"])
assert [o.model_id for o in run.outputs.model_outputs] == [info["model_id"]], run.outputs
version = client.get_model_version_by_alias("clf", "champion")
assert (version.version, version.run_id, version.status) == (1, info["run_id"], "READY") or int(version.version) == 1, version
assert client.get_registered_model("clf").aliases == {"champion": version.version}
got = mlflow.models.get_model_info("models:/clf@champion")
assert got.model_uuid == info["model_id"] and got.run_id == info["run_id"], got

texts = ["hello world", "good", "bad weather"]
theirs = mlflow.pyfunc.load_model("models:/clf@champion").predict(texts)
ours = json.loads(mltf("models", "predict", "-m", "models:/clf@champion", stdin=json.dumps({"inputs": texts})))
theirs = json.loads(theirs.to_json(orient="records")) if isinstance(theirs, pd.DataFrame) else theirs
assert close(ours["predictions"], theirs), (ours, theirs)

# the other way: Python logs into the same file
from transformers import pipeline  # noqa: E402

mlflow.set_experiment("py")
pipe = pipeline("fill-mask", model=os.path.join(FIXTURES, "bert-mlm"))
with mlflow.start_run() as r:
    logged = mlflow.transformers.log_model(pipe, name="filler", registered_model_name="filler",
                                           pip_requirements=["transformers"], save_pretrained=True)
client.set_registered_model_alias("filler", "live", 1)
masked = [f"hello {pipe.tokenizer.mask_token}"]
theirs = mlflow.pyfunc.load_model(logged.model_uri).predict(masked)
for uri in (logged.model_uri, "models:/filler/1", "models:/filler@live", f"runs:/{r.info.run_id}/filler"):
    ours = json.loads(mltf("models", "predict", "-m", uri, stdin=json.dumps({"inputs": masked})))["predictions"]
    assert ours == theirs, (uri, ours, theirs)
# and both go on writing
info2 = json.loads(mltf("models", "log", "-m", os.path.join(FIXTURES, "bert-seqcls"), "--name", "clf", "--task",
                        "text-classification", "--run-id", r.info.run_id, "--registered-model-name", "clf"))
assert info2["run_id"] == r.info.run_id and info2["registered_model_version"] == 2, info2
assert len(client.search_model_versions("name='clf'")) == 2
print("the store is shared")
