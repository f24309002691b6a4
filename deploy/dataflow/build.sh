#!/usr/bin/env bash
# `webtext build` with its stages on Dataflow; docs/dataflow.md tells what must be there before.
#
#   deploy/dataflow/build.sh webtext.toml --run gs://BUCKET/runs/NAME --until dedupe
set -euo pipefail

: "${PROJECT:?must be the id of the project that pays}"
: "${REGION:?must be the region of the bucket and of the workers, such as europe-west4}"
: "${BUCKET:?must be the name of the bucket for what jobs leave behind}"
: "${IMAGE:?must be the image that was made from deploy/dataflow/Dockerfile}"
: "${SERVICE_ACCOUNT:?must be the account that workers run as, such as NAME@PROJECT.iam.gserviceaccount.com}"

exec webtext build "$@" -- \
    --runner=DataflowRunner \
    --project="$PROJECT" \
    --region="$REGION" \
    --temp_location="gs://$BUCKET/temp" \
    --service_account_email="$SERVICE_ACCOUNT" \
    --sdk_container_image="$IMAGE" \
    --machine_type="${MACHINE_TYPE:-n2-highmem-4}" \
    --disk_size_gb="${DISK_SIZE_GB:-50}" \
    --max_num_workers="${MAX_NUM_WORKERS:-20}" \
    --experiments=disable_logging_submission_environment
