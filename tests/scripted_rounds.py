"""Programs that stand where trainer and model would, and really learn: how often each word stood with each label."""

from pathlib import Path

from .scripted_asking import PROGRAM as ASKED
from .scripted_training import program

LEARN = """
sys.path.insert(0, os.getcwd())
from modeling.gpu.hashing import hash_of
counts = {}
for line in (folder / "posts" / "train.jsonl").read_text().splitlines():
    post = json.loads(line)
    for word in post["user"].split():
        counts.setdefault(word, {}).setdefault(post["label"], 0)
        counts[word][post["label"]] += 1
(folder / "adapter").mkdir(exist_ok=True)
(folder / "adapter" / "adapter_model.safetensors").write_text(json.dumps(counts))
step(1, of=1); evaluate(1, 0.5)
receipt = {"adapter": hash_of(folder / "adapter"), "posts": {}, "seconds": 36.0}
(folder / "receipt.json").write_text(json.dumps(receipt))
tell("done", step=1, loss=0.1)
"""
BY_HEART = """
ask = json.loads((folder / "ask.json").read_text())
counts = json.loads((pathlib.Path(ask["adapter"]) / "adapter_model.safetensors").read_text())
def answer(post):
    found = [0.0] * len(names)
    for word in post["user"].split():
        for n, name in enumerate(names):
            found[n] += math.log(counts.get(word, {}).get(name, 0) + 0.3)
    return found
done = 0
"""


def programs(folder: Path) -> tuple[list[str], list[str]]:
    """The trainer's and the model's."""
    for name in ("learn", "answer"):
        (folder / name).mkdir()
    answer = folder / "answer" / "program.py"
    answer.write_text(ASKED.replace("WAIT", "pass").replace("done = 0\n", BY_HEART, 1))
    learn = program(folder / "learn", LEARN)
    return learn, [learn[0], str(answer)]
