#!/usr/bin/env bash
# Docker for the jobs on kind clusters, on a machine that has none: Debian's dockerd with directories of its own, next to
# nothing that is on the machine already.
#
#   eval "$(.ci/docker.sh start)"   sets DOCKER_HOST
#   .ci/docker.sh stop              ends it, and removes all that it made
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${WI_E2E_DOCKER_DIR:-/var/lib/wi-e2e-docker}
export DOCKER_HOST=unix://$dir/docker.sock
PATH=$PATH:/usr/sbin:/sbin

install() {
	command -v dockerd >/dev/null && command -v docker >/dev/null && command -v iptables >/dev/null && return
	echo "installing docker.io" >&2
	# The package would start a daemon of its own.
	local policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod +x $policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	apt-get update -q >&2
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends docker.io iptables >&2
}

# lacks says whether this machine's processes cannot have CAP_SYS_RESOURCE, which is bit 24.
lacks_sys_resource() {
	local bounding
	bounding=$(awk '/^CapBnd/ {print $2}' /proc/self/status)
	(((16#$bounding >> 24 & 1) == 0))
}

start() {
	install
	if [ -e "$dir" ]; then
		echo "$dir is there already: $0 stop" >&2
		exit 1
	fi
	mkdir -p "$dir"
	# What dockerd changes beside its directories, to be put back.
	nft list tables 2>/dev/null >"$dir/tables" || true
	cat /proc/sys/net/ipv4/ip_forward >"$dir/ip_forward"
	local forward
	forward=$(iptables -S FORWARD | awk '$1 == "-P" {print $3}')

	local runtime=()
	if lacks_sys_resource && [ "$(dockerd --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')" -lt 23 ]; then
		runtime=(--add-runtime "shim=$here/runc-shim" --default-runtime shim)
	fi
	# Without a default bridge: kind makes a network for itself.
	setsid dockerd --host "$DOCKER_HOST" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/dockerd.pid" \
		--bridge none "${runtime[@]}" >"$dir/dockerd.log" 2>&1 </dev/null &
	local pid=$! end=$((SECONDS + 30))
	until docker version >/dev/null 2>&1; do
		if ! kill -0 $pid 2>/dev/null || [ $SECONDS -ge $end ]; then
			echo "dockerd did not start:" >&2
			tail -20 "$dir/dockerd.log" >&2
			stop
			exit 1
		fi
		sleep 0.1
	done
	# dockerd drops what this machine forwards, other clusters' packets included.
	iptables -P FORWARD "$forward"
	echo "export DOCKER_HOST=$DOCKER_HOST"
}

stop() {
	[ -e "$dir" ] || return 0
	if docker version >/dev/null 2>&1; then
		docker ps -aq | xargs -r docker rm -f -v >/dev/null
		docker network prune -f >/dev/null
	fi
	local pid
	if pid=$(cat "$dir/dockerd.pid" 2>/dev/null); then
		kill "$pid" 2>/dev/null || true
		timeout 30 tail --pid="$pid" -f /dev/null
	fi
	# Deepest first: a daemon that was killed leaves them.
	awk -v dir="$dir/" 'index($2, dir) == 1 {print $2}' /proc/self/mounts | sort -r | xargs -r -n1 umount
	firewall
	cat "$dir/ip_forward" >/proc/sys/net/ipv4/ip_forward
	rm -rf "$dir"
}

# firewall removes dockerd's rules: whole tables where it made them.
firewall() {
	local family table command rule chain
	for family in ip ip6; do
		command=${family}tables # iptables, ip6tables
		for table in filter nat; do
			if ! grep -qxF "table $family $table" "$dir/tables"; then
				nft delete table "$family" "$table" 2>/dev/null || true
				continue
			fi
			$command -t $table -S | awk '$1 == "-A" && /DOCKER/ {sub("-A", "-D"); print}' | while read -r rule; do
				xargs "$command" -t "$table" <<<"$rule"
			done
			$command -t $table -S | awk '$1 == "-N" && /DOCKER/ {print $2}' | while read -r chain; do
				$command -t "$table" -X "$chain"
			done
		done
	done
}

case ${1:-} in
start | stop) "$1" ;;
*)
	echo "usage: $0 start|stop" >&2
	exit 2
	;;
esac
