#!/bin/sh
# Dependencies point one way: daemon -> proto -> keystore -> crypto -> base, daemon -> conf -> base, ctl -> proto, keystore.
# Names each #include that turns back.
set -eu

allowed() {
	case $1 in
	base) echo "base" ;;
	crypto) echo "base crypto" ;;
	keystore) echo "base crypto keystore" ;;
	proto) echo "base crypto keystore proto" ;;
	conf) echo "base conf" ;;
	daemon) echo "base crypto keystore proto conf daemon" ;;
	ctl) echo "base crypto keystore proto ctl" ;;
	esac
}

status=0
for layer in base crypto keystore proto conf daemon ctl; do
	for target in base crypto keystore proto conf daemon ctl; do
		case " $(allowed $layer) " in
		*" $target "*) continue ;;
		esac
		if grep -n "#include \"$target/" "$layer"/*.c "$layer"/*.h 2>/dev/null; then
			echo "$layer must not include $target" >&2
			status=1
		fi
	done
done
exit $status
