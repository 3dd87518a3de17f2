# Run the cluster of one workload until SIGTERM. The shell waits, not Python: what is measured is the cluster alone,
# and not the script that has started it. $1: the Python of the project.
trap '"$1" cluster.py stop' EXIT
"$1" cluster.py start || exit 1
tail -f /dev/null &
trap 'kill $!; exit 0' TERM INT
wait
