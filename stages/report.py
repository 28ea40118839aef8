"""report: the page to listen to, and where it is."""

from pathlib import Path

from common import code_revision, read_params, run

from koe.files import replacing
from koe.report.data import load_report
from koe.report.page import build_page
from koe.report.summary import print_summary
from koe.tasks.conversion.schema import Params

PAGE = Path("metrics/report/index.html")


def main() -> None:
    sections = read_params("seed", "corpora", "mel", "resample", "trim", "pitch", "pair", "stats", "align", "acoustic",
                           "griffin_lim", "vocoder", "evaluation", "report")
    report = load_report(Params(**vars(sections)), revision=code_revision())
    with replacing(PAGE) as temporary:
        temporary.write_text(build_page(report), encoding="utf-8")
    print_summary(report.evaluation)
    print(f"listen: {PAGE}")


if __name__ == "__main__":
    run(main)
