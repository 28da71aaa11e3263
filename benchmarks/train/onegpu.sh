#!/usr/bin/env bash
# Trains the onegpu preset's 1b on the sample world in three attempts: killed, stopped by SIGTERM, run to its end; then
# profiles it and draws the loss by modality with the attempts marked. Everything lies in FOLDER.
#
#   benchmarks/train/onegpu.sh FOLDER [STEPS]        PYTHON=… the interpreter; EXTRA=… more --set options
#
# A checkpoint is 12 bytes a parameter (17 GB): FOLDER needs room for three of them.
set -euo pipefail
folder=${1:?a folder to work in} steps=${2:-90}
python=${PYTHON:-python3}
export PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
ws=$folder/ws
say() { printf '== %s s: %s\n' "$SECONDS" "$*"; }
expedition() { "$python" -m expedition "$@"; }
done_steps() { expedition train status --run 1b -w "$ws" --json 2>/dev/null | "$python" -c 'import json, sys; print(json.load(sys.stdin)["steps"])' 2>/dev/null || echo 0; }
# Waits until the run has done so many steps; fails where the process ends before.
until_step() { while kill -0 "$2" 2>/dev/null; do [ "$(done_steps)" -ge "$1" ] && return 0; sleep 1; done; tail -5 "$3"; return 1; }

mkdir -p "$folder"
say "sample world and dataset"
expedition sample write "$folder/raw" --size small --seed 7 > /dev/null
# shellcheck disable=SC2086
expedition programme init -w "$ws" --preset onegpu --set "runs.1b.length=$steps steps" \
  --set "runs.1b.learning_rate.warmup=20 steps" --set "runs.1b.checkpoint.ephemeral_every=20 steps" \
  --set runs.1b.checkpoint.keep_ephemeral=1 ${EXTRA:-} > /dev/null
for source in common_crawl common_crawl_2 github_code books image_text image_text_2 video_text audio_text driving synthetic; do
  expedition compliance approve "$source" --who "Ada Byron" --why "made by the sample world" \
    --document "$folder/raw/sources.yaml" --scope training -w "$ws" > /dev/null
done
expedition data build "$folder/raw" --version v0.1 --skip-unapproved -w "$ws" > "$folder/build.log" 2>&1 || { tail -5 "$folder/build.log"; exit 1; }

say "attempt 1, killed after $((steps / 3)) steps"
"$python" -m expedition train run 1b -w "$ws" > "$folder/attempt-1.log" 2>&1 & process=$!
until_step $((steps / 3)) $process "$folder/attempt-1.log"
kill -9 $process; wait $process 2>/dev/null || true
say "attempt 2, stopped by SIGTERM after $((steps * 2 / 3)) steps"
"$python" -m expedition train resume 1b -w "$ws" > "$folder/attempt-2.log" 2>&1 & process=$!
until_step $((steps * 2 / 3)) $process "$folder/attempt-2.log"
kill -TERM $process; wait $process && code=0 || code=$?
[ $code -eq 4 ] || { echo "exit $code after SIGTERM, not 4"; exit 1; }
say "attempt 3, to the end"
expedition train resume 1b -w "$ws" > "$folder/attempt-3.log" 2>&1 || { tail -5 "$folder/attempt-3.log"; exit 1; }
tail -2 "$folder/attempt-3.log"
say "profile and picture"
expedition train profile --run 1b --steps 6 --layers -w "$ws" > "$folder/profile.log" 2>&1 || tail -3 "$folder/profile.log"
expedition train performance --run 1b -w "$ws" > /dev/null
"$python" scripts/training_curve.py "$ws" 1b "$folder/loss.svg"
tar -C "$ws" -czf "$folder/records.tgz" --exclude=checkpoints runs/1b reports events programme.yaml
say "done: $folder/loss.svg, $folder/records.tgz"
