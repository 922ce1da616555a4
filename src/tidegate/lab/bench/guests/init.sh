#!/bin/sh
# The first process of a tiny guest. What stands between @ is put in when the image is made.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in @MODULES@; do insmod /lib/modules/$module.ko; done
echo online_movable >/sys/devices/system/memory/auto_online_blocks 2>/dev/null
ifconfig lo 127.0.0.1 up
for word in $(cat /proc/cmdline); do
    case $word in
    address=*) ifconfig eth0 "${word#address=}" up ;;
    swap=*) mkswap "/dev/${word#swap=}" >/dev/null && swapon "/dev/${word#swap=}" ;;
    esac
done
for port in /sys/class/virtio-ports/*; do
    [ "$(cat $port/name 2>/dev/null)" = @CHANNEL@ ] && (while :; do /bin/agent /dev/${port##*/}; sleep 0.1; done) &
done
echo "guest ready after $(cut -d' ' -f1 /proc/uptime) s" >/dev/console
while :; do sleep 1000; done
