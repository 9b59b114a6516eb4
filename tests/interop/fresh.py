"""What the checks on fresh random checkpoints share: the library kept quiet and offline, the program they ask, and their
arguments. Importing this ends the check with 77 ("cannot run here") where the library is not installed.

MLTF_FRESH_SEED is the seed, else the day's number, so that every day draws others; MLTF_FRESH_SECONDS bounds the time.
"""
import argparse, os, random, sys, time, traceback, warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import torch
    import transformers as T
except ImportError as e:
    print("cannot run: %s" % e)
    sys.exit(77)

warnings.filterwarnings("ignore")
T.logging.set_verbosity_error()
T.logging.disable_progress_bar()
torch.set_num_threads(1)
PARITY = os.path.join(os.environ.get("BUILD", "build"), "parity")


def parser(seconds):
    """--seconds and --seed; each check adds its own."""
    ap = argparse.ArgumentParser()
    ap.add_argument("--seconds", type=float, default=float(os.environ.get("MLTF_FRESH_SECONDS", seconds)))
    ap.add_argument("--seed", type=int, default=int(os.environ.get("MLTF_FRESH_SEED", time.time() // 86400)))
    return ap


def families(ap, table):
    """Parse, and (arguments, the families asked for in the seed's order); with --again SEED one of them once more."""
    ap.add_argument("--only", nargs="*", default=[])
    ap.add_argument("--again", type=int, help="the seed of one checkpoint, as its line says; with --only")
    a = start(ap)
    names = [n for n in table if not a.only or n in a.only]
    random.Random(a.seed).shuffle(names)
    return a, names


def start(ap):
    a = ap.parse_args()
    if not os.path.exists(PARITY):
        print("no %s: make programs first" % PARITY)
        sys.exit(77)
    print("seed %d" % a.seed)
    return a


def seed_of(a, name, turn):
    """The seed of a family's checkpoint in this turn."""
    return a.again or random.Random("%d %s %d" % (a.seed, name, turn)).randrange(1 << 31)


def run(a, names, one):
    """Draw checkpoints of the families in turn until the time is over; with --again a single one. one(name, seed) returns
    (what was drawn, a list of what is wrong). Returns the exit status."""
    end, made, failed, turn = time.time() + a.seconds, 0, 0, 0
    while time.time() < end:
        name = names[turn % len(names)]
        seed = seed_of(a, name, turn // len(names))
        turn += 1
        try:
            words, wrong = one(name, seed)
        except Exception as e:  # the library itself may refuse a combination: that is no answer of ours
            if traceback.extract_tb(e.__traceback__)[-1].filename.startswith(os.path.dirname(os.path.abspath(__file__))):
                raise
            print("none %-16s seed %d: transformers: %s: %s" % (name, seed, type(e).__name__, str(e)[:200]), flush=True)
        else:
            made += 1
            failed += bool(wrong)
            print("%s %-16s %s" % ("FAIL" if wrong else "ok  ", name, words), flush=True)
            for w in wrong:
                print("     " + w.replace("\n", "\n     "), flush=True)
        if a.again:
            break
    print("%d checkpoints, %d failed (MLTF_FRESH_SEED=%d)" % (made, failed, a.seed))
    return 1 if failed or not made else 0
