"""report: the page to listen to, and where it is."""

from common import code_revision, read_params, run
from pipeline import PIPELINE

from koe.files import read_json
from koe.pipeline.declaration import PipelineFolder
from koe.report.page import write_page
from koe.report.summary import print_summary
from koe.tasks.conversion.schema import Params


def main() -> None:
    sections = read_params("seed", "corpora", "mel", "resample", "trim", "pitch", "pair", "stats", "align", "acoustic",
                           "griffin_lim", "vocoder", "evaluation", "report")
    page = write_page(PipelineFolder(PIPELINE, Params(**vars(sections))), code_revision())
    print_summary(read_json("metrics/evaluation.json"), PIPELINE.evaluation)
    print(f"listen: {page}")


if __name__ == "__main__":
    run(main)
