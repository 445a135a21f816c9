# Packs this machine's Python with the libraries that it is linked to, for hosts of the same distribution that
# have none.
set -eu
python=$(readlink -f "$(command -v python3)")
lib=$(python3 -c 'import os; print(os.path.dirname(os.__file__))')
tar -chz -C / --exclude=__pycache__ --exclude=test --exclude=idlelib --exclude=dist-packages --exclude='config-*' \
	"${python#/}" usr/bin/python3 "${lib#/}" $(ldd "$python" | sed -n 's,.* => /\(lib[^ ]*\(expat\|libz\)[^ ]*\) .*,\1,p')
