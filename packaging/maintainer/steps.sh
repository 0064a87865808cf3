# The steps that the maintainer scripts of the deb and of the rpm are made of. script/package puts them in front of each of the
# files in deb/ and rpm/. POSIX sh, under `set -e`: a step that can fail without harm says so in one line and goes on.

# The package's own programs come first, whatever the user has in /usr/local.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

say() {
  echo "weft: $*" >&2
}

has_systemd() {
  [ -d /run/systemd/system ]
}

reread_units() {
  has_systemd || return 0
  systemctl daemon-reload || say "systemd could not read its units again; run: systemctl daemon-reload"
}

# /etc/weft/flanneld.conf and store.conf are no conffiles: they may hold a password, and flannel's settings may be in them.
# $1: "first" at a first installation.
make_conf() {
  mkdir -p /etc/weft
  # A link that leads nowhere yet is the user's too.
  if ! [ -e /etc/weft/store.conf ] && ! [ -L /etc/weft/store.conf ] && [ -e /usr/share/weft/store.conf ]; then
    install -m 600 /usr/share/weft/store.conf /etc/weft/store.conf
  fi
  next='systemctl enable --now flanneld && systemctl restart docker'
  if [ -e /etc/weft/flanneld.conf ] || [ -L /etc/weft/flanneld.conf ]; then
    [ "$1" != first ] || say "/etc/weft/flanneld.conf is kept; next: $next"
    return 0
  fi
  new=/etc/weft/flanneld.conf.new
  notes=/etc/weft/flanneld.conf.notes
  rm -f "$new" "$notes"
  (umask 077 && : >"$new" && : >"$notes")
  # 3: there is no flannel here.
  code=0
  weft import-flannel >"$new" 2>"$notes" </dev/null || code=$?
  [ "$code" = 3 ] || cat "$notes" >&2
  if [ "$code" = 0 ]; then
    say "/etc/weft/flanneld.conf has the settings of this host's flannel: read it, and see what a start would do: weft plan"
  else
    cat /usr/share/weft/flanneld.conf >"$new"
    say "write etcd's address into /etc/weft/flanneld.conf"
  fi
  mv "$new" /etc/weft/flanneld.conf
  rm -f "$notes"
  say "then: $next"
}

# Files of an installation by hand that systemd and the shell take before the package's.
name_hidden() {
  for path in /etc/systemd/system/flanneld.service /etc/systemd/system/weft-store.service \
    /etc/systemd/system/docker.service.d/flannel.conf \
    /usr/local/sbin/flanneld /usr/local/sbin/weft /usr/local/sbin/mk-docker-opts \
    /usr/local/bin/flanneld /usr/local/bin/weft /usr/local/bin/mk-docker-opts; do
    [ ! -e "$path" ] || say "$path is used in place of the package's; remove it if it is not meant"
  done
}

# dockerd refuses an option that is in its file and on its command line too: a restart would end every container.
name_docker_options() {
  file=/etc/docker/daemon.json
  if [ -f "$file" ] && grep -Eq '"(bip|mtu)"[[:space:]]*:' "$file"; then
    say "$file names bip or mtu: take it out before Docker is restarted with flanneld, or Docker does not start"
  fi
}

# flannel's rpm, which ours takes the place of, stops its unit when it goes. Where Docker requires that unit, all containers
# would end. It takes the link away itself, but systemd is not asked to read it again before the stop.
keep_docker_running() {
  link=/etc/systemd/system/docker.service.requires/flanneld.service
  [ -L "$link" ] || return 0
  rm "$link"
  rmdir "${link%/*}" 2>/dev/null || :
  say "$link is removed: Docker would stop with flannel"
}

# Restarts what runs: flanneld's kernel state stays meanwhile, and no packet is lost. Docker is not touched. Nothing is
# waited for: flanneld is ready only when the registry has answered.
restart_running() {
  has_systemd || return 0
  for unit in weft-store.service flanneld.service; do
    # Debian's: the administrator says there what packages may start.
    if command -v policy-rc.d >/dev/null; then
      code=0
      policy-rc.d "$unit" restart || code=$?
      [ "$code" != 101 ] || continue
    fi
    systemctl --no-block try-restart "$unit" || say "could not restart $unit; run: systemctl restart $unit"
  done
}

# Before the files go: stops, disables, and keeps what is needed to remove the kernel's state later, without weft.
leave() {
  mkdir -p /var/lib/weft
  list=/var/lib/weft/removed-units enabled=
  rm -f "$list"
  if command -v systemctl >/dev/null; then
    for unit in weft-docker.socket flanneld.service weft-store.service; do
      if systemctl --quiet is-enabled "$unit" 2>/dev/null; then
        enabled="$enabled $unit"
        note_removed "enable $unit"
      fi
      has_systemd || continue
      ! systemctl --quiet is-active "$unit" || note_removed "start $unit"
      systemctl stop "$unit" || say "could not stop $unit"
    done
  fi
  if write_purge_script; then
    say "packets are forwarded as before; what ends that, and removes all settings: sh /var/lib/weft/purge.sh"
  else
    rm -f /var/lib/weft/purge.sh.new
    say "could not write /var/lib/weft/purge.sh: a purge will leave the kernel's state, which a reboot removes"
  fi
  for unit in $enabled; do
    systemctl --quiet disable "$unit" || say "could not disable $unit"
  done
}

# A full disk is no reason to keep a package: with rpm nothing would start again what is stopped.
note_removed() {
  echo "$1" >>"$list" || say "could not write $list: if the removal fails, run: systemctl $1"
}

# The removal did not happen: what it stopped goes on.
come_back() {
  [ -e /var/lib/weft/removed-units ] || return 0
  while read -r verb unit; do
    [ "$verb" != start ] || has_systemd || continue
    systemctl --no-block "$verb" "$unit" || say "could not $verb $unit"
  done </var/lib/weft/removed-units
  forget_removal
}

forget_removal() {
  rm -f /var/lib/weft/removed-units /var/lib/weft/purge.sh
}

write_purge_script() {
  new=/var/lib/weft/purge.sh.new
  if ! weft cleanup --all --script >"$new" </dev/null; then
    say "a purge will leave the kernel's state: weft could not say what there is"
    echo '#!/bin/sh' >"$new"
  fi
  print_purge_of_files >>"$new" && chmod 755 "$new" && mv "$new" /var/lib/weft/purge.sh
}

# The store's data is kept: it may be the only copy of what all hosts of the site need.
print_purge_of_files() {
  cat <<'END'
# systemd keeps the data of a user that exists while the unit runs in private/, and a link to it. The data's file may have
# any name.
stores='/var/lib/private/weft-store /var/lib/weft-store'
if [ -n "$(ls -A /var/lib/private/weft-store 2>/dev/null)" ] || [ -n "$(ls -A /var/lib/weft-store/ 2>/dev/null)" ]; then
  echo "weft: /var/lib/weft-store is kept, other hosts may need the data; when none does: rm -r $stores" >&2
else
  rm -rf $stores
fi
# rpm keeps conffiles that a user changed.
rm -f /etc/sysctl.d/60-weft.conf.rpm* /etc/modules-load.d/weft.conf.rpm*
# Another flanneld that runs reads and writes the same files: without them it would be another host.
if [ "${running-}" = yes ]; then
  rm -f /var/lib/weft/purge.sh /var/lib/weft/removed-units
  echo 'weft: /etc/weft, /var/lib/weft and /run/flannel are left to the flanneld that runs' >&2
else
  rm -rf /var/lib/weft /etc/weft /run/flannel
fi
END
}

purge() {
  if [ -e /var/lib/weft/purge.sh ]; then
    sh /var/lib/weft/purge.sh || say "not all of the kernel's state could be removed"
  else
    print_purge_of_files | sh
  fi
}
