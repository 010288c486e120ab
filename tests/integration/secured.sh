# Brokers that ask who is there: pith and pithd with TLS and certificates, with names and passwords, and what each says where
# one of these is wrong.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
needs mosquitto_passwd
pith=$PITH_BUILD/pith

asks() { # EXIT-CODE ARGUMENT...: `pith gc`, which looks and changes nothing
    wanted=$1
    shift
    "$pith" gc --dry-run "$@" >"$folder/out" 2>"$folder/err"
    [ $? -eq "$wanted" ] && [ "$(wc -l <"$folder/err")" -le 1 ]
}

says() { # PATTERN
    grep -q -- "$1" "$folder/err"
}

daemon_says() { # PATTERN CONFIG-LINE...: pithd with such a home connection
    pattern=$1
    shift
    rm -f "$folder/pithd.log"
    {
        printf 'gateway: gw-test\nhome:\n'
        printf '  %s\n' "$@"
        printf 'trust: [%s/release.pub]\nstate_dir: %s/state\nrun_dir: %s/run\nrecipe_path: %s/recipes\nworker: %s\n' \
            "$folder" "$folder" "$folder" "$folder" "$PITH_BUILD/pithd"
    } >"$folder/pithd.yaml"
    pithd_start
    wait_for logged "$pattern"
    heard=$?
    kill -0 "$pithd_pid" 2>/dev/null && pithd_stop
    return $heard
}

plan 13
broker_start_tls home </dev/null
url=mqtts://localhost:$home_port
tls=$folder/tls
asks 0 --url "$url" --ca "$tls/ca.pem" --cert "$tls/gateway.pem" --key "$tls/gateway.key"
ok $? "pith comes in with its certificate" "$folder/err"
asks 5 --url "$url" --ca "$tls/stranger.pem" --cert "$tls/gateway.pem" --key "$tls/gateway.key" && says 'TLS failed.*--ca'
ok $? "pith trusts no broker that its authority doesn't vouch for" "$folder/err"
asks 5 --url "$url" --ca "$tls/ca.pem"
ok $? "pith stays outside without a certificate" "$folder/err"
asks 5 --url "$url" --ca "$tls/ca.pem" --cert "$tls/stranger.pem" --key "$tls/stranger.key"
ok $? "pith stays outside with a stranger's" "$folder/err"
asks 2 --url "$url" --ca "$folder/no-such.pem" && says 'no-such.pem'
ok $? "pith names a certificate that isn't there" "$folder/err"
daemon_says 'event=mqtt_up' "url: $url" "ca: $tls/ca.pem" "cert: $tls/gateway.pem" "key: $tls/gateway.key"
ok $? "pithd comes in with its certificate" "$folder/pithd.log"
daemon_says 'event=mqtt_down.*certificate verify failed' "url: $url" "ca: $tls/stranger.pem" "cert: $tls/gateway.pem" "key: $tls/gateway.key"
ok $? "pithd trusts no broker that its authority doesn't vouch for" "$folder/pithd.log"
broker_stop home

printf 'open sesame\n' >"$folder/right"
printf 'open barley\n' >"$folder/wrong"
chmod 600 "$folder/right" "$folder/wrong"
mosquitto_passwd -b -c "$folder/passwords" ada "open sesame" 2>/dev/null
chmod 644 "$folder/passwords"
chmod 755 "$folder"
broker_config home "allow_anonymous false" "password_file $folder/passwords" </dev/null
[ "$(id -u)" -eq 0 ] && echo "user root" >>"$folder/home.conf"
broker_run home
url=mqtt://127.0.0.1:$home_port
asks 0 --url "$url" --username ada --password-file "$folder/right"
ok $? "pith comes in with a name and a password" "$folder/err"
asks 3 --url "$url" --username ada --password-file "$folder/wrong" && says 'refused us'
ok $? "pith is told that the password is wrong" "$folder/err"
asks 3 --url "$url" && says 'refused us'
ok $? "pith is told that a name is needed" "$folder/err"
asks 2 --url "$url" --username ada --password-file "$folder/none"
ok $? "pith names a password file that isn't there" "$folder/err"
daemon_says 'event=mqtt_up' "url: $url" "username: ada" "password_file: $folder/right"
ok $? "pithd comes in with a name and a password" "$folder/pithd.log"
daemon_says 'event=mqtt_down.*[Nn]ot authori[sz]ed\|event=mqtt_down.*password' "url: $url" "username: ada" "password_file: $folder/wrong"
ok $? "pithd says that it was refused, and goes on" "$folder/pithd.log"
