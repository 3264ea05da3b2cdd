"""Test the page of trajectories in a real browser. The test needs Chromium, so it is run by hand.

    python -m tests.benchmarks.browser

The address of the page selects a shape, a step and a kind of noise. Chromium must show them, and log nothing to the
console.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from tests.commands.test_view import write_trajectories


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scaled = write_trajectories(folder / "a.zarr")
        unit = write_trajectories(folder / "b.zarr", noise="unit", steps=2)
        page = folder / "x.html"
        subprocess.run(["sdfkit", "view", scaled, unit, "-o", page], check=True)
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
                   "--enable-logging=stderr", "--dump-dom", f"file://{page}#shape=1&step=9&noise=1"]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", result.stdout))
    wanted = {"step": "2 of 2", "noise": "unit noise", "IoU with the truth": "1.000"}
    escaped = '<option value="1">&lt;script&gt;alert(1)&lt;/script&gt; – &lt;/script&gt;$x_$</option>'
    shown = {fact: facts.get(fact) for fact in wanted}
    if shown != wanted or escaped not in result.stdout or "CONSOLE" in result.stderr:
        raise SystemExit(f"the browser shows {shown}, and says: {result.stderr}")
    print(f"as asked for: {shown}")


if __name__ == "__main__":
    main()
