#!/usr/bin/env bash
# gather.sh MATRIX RESULTS OUTPUT: puts the results of a matrix' jobs together, those of a job in RESULTS/<job>. The shards of each combination
# become one record, which fails unless they are complete and disjoint, with its reports and failure bundles beside it.
set -euo pipefail
matrix=$1 results=$2 output=$3

jobs=$(bin/wi-e2e matrix --format github "$matrix")
mapfile -t groups < <(jq -r '[.include[].group] | unique[]' <<<"$jobs")
mkdir -p "$output"
for group in "${groups[@]}"; do
	mapfile -t names < <(jq -r --arg group "$group" '.include[] | select(.group == $group).name' <<<"$jobs")
	mkdir -p "$output/$group"
	records=("${names[@]/#/$results/}")
	records=("${records[@]/%//record.json}")
	bin/wi-e2e report merge --output "$output/$group/record.json" "${records[@]}"
	bin/wi-e2e report render --format junit --output "$output/$group/junit.xml" "$output/$group/record.json"
	bin/wi-e2e report render --format html --output "$output/$group/report.html" "$output/$group/record.json"
	bin/wi-e2e report render --format markdown --output "$output/$group/summary.md" "$output/$group/record.json"
	for name in "${names[@]}"; do
		if [ -d "$results/$name/bundle" ]; then cp -r "$results/$name/bundle" "$output/$group/"; fi
	done
done
merged=("${groups[@]/#/$output/}")
bin/wi-e2e report merge --output "$output/records.json" "${merged[@]/%//record.json}"
bin/wi-e2e report render --format html --output "$output/report.html" "$output/records.json"
