# Packs the Python of this machine's distribution with the libraries that it is linked to, for hosts of the same
# distribution that have none.
set -eu
python=$(readlink -f /usr/bin/python3)
lib=$(/usr/bin/python3 -c 'import os; print(os.path.dirname(os.__file__))')
libraries=$(ldd "$python" | sed -n 's,.* => /\(lib[^ ]*\(expat\|libz\)[^ ]*\) .*,\1,p')
tar -chz -C / --exclude=__pycache__ --exclude=test --exclude=idlelib --exclude=dist-packages --exclude='config-*' \
	"${python#/}" usr/bin/python3 "${lib#/}" $libraries
