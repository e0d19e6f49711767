# In the virtual machine: runs the selected tests as root, and reports by the second serial port (see tests/virtual.py).
set -e
stty -F /dev/ttyS1 raw
echo up >/dev/ttyS1
udevadm settle
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
cd /sampan
printf '#!/bin/sh\nPYTHONPATH=/sampan/src:/sampan/site exec python3 -m sampan "$@"\n' >/usr/local/bin/sampan
printf '#!/bin/sh\nPYTHONPATH=/sampan/src:/sampan/site exec python3 -c "from sampan.cli.runtime import run; run()" "$@"\n' >/usr/local/bin/sampan-runtime
chmod 755 /usr/local/bin/sampan /usr/local/bin/sampan-runtime
export SAMPAN_GUEST=/dev/ttyS1 PYTHONPATH=/sampan/src:/sampan/site HOME=/root LANG=C.UTF-8
tr '\n' '\0' <selected | xargs -0 python3 -m pytest --vm -p no:cacheprovider -v || true
