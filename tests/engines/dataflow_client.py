"""What ``webtext build`` does for DataflowRunner, sent to a stand-in: run where Google's libraries are.

First the options are held against ours and Beam's checks as for the real service. Then the stages are brought
to their manifests, each by a job; the run's directory, which must be in a bucket for the real service, may be
on this disk.
"""

import contextlib
import os
import sys
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

from pipeline.beam import check_options
from pipeline.errors import InputError, RunError
from pipeline.runs import Folder, Manifest
from pipeline.stages import STAGES, Job, execute
from webtext.settings import load


def main() -> int:
    """``dataflow_client PORT TEMP BEAM_OPTION…``, in the folder of ``webtext.toml``."""
    port, temp, *options = sys.argv[1:]
    check_options(options, Folder("s3://a-bucket/runs/one?region=eu-central-1"))
    # A dry run, for Beam would else ask for the buckets themselves.
    wrong = PipelineOptionsValidator(
        PipelineOptions([*options, "--dry_run=true"]), DataflowRunner()
    ).validate()
    assert not wrong, wrong
    here = [f"--dataflow_endpoint=http://localhost:{port}", "--no_auth", f"--temp_location={temp}"]
    settings = load(Path("webtext.toml"))
    run = Folder(settings.run.dir)
    manifests: dict[str, Manifest] = {}
    try:
        for stage in STAGES:
            inputs = {name: manifests[name] for name in stage.after}
            job = Job(stage, run, settings.section(stage.name), inputs)
            manifests[stage.name] = execute(
                job, beam_options=[*options, *here], watch=lambda *_: contextlib.nullcontext()
            )
    except (InputError, RunError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)
