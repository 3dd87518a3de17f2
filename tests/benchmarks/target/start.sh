# Run the cluster of one workload until SIGTERM. The shell waits, not Python: its memory is not the server's.
# $1: the Python of the project.
trap 'ended=yes; [ -z "$!" ] || kill "$!"' TERM INT
if "$1" cluster.py up && [ -z "$ended" ]; then
    sleep 2147483647 &
    wait
fi
"$1" cluster.py down
