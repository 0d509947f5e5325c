admin() {
  exec 3<>/dev/tcp/127.0.0.1/9901
  printf '%s HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}
admin 'POST /healthcheck/fail'
sleep "${NOTICE_S:-10}"
# The door first, then the connections: one that is made while a door closes is reset, and who is sent away before comes back by it.
admin 'POST /drain_listeners'
admin 'POST /drain_listeners?graceful'
# Who keeps a connection open may still use it, and most clients give up one without a call after five seconds:
# what counts from then on is that no call has come for three seconds.
quiet=0 before=
for second in $(seq "${CALLS_S:-35}"); do
  sleep 1
  now=$(admin 'GET /stats?filter=^http.public.downstream_(cx_active|rq_active|rq_total)$')
  grep -q 'cx_active: 0' <<< "$now" && exit 0
  calls=$(grep rq_ <<< "$now")
  if [ "$calls" = "$before" ] && grep -q 'rq_active: 0' <<< "$now"; then quiet=$((quiet + 1)); else quiet=0; fi
  before=$calls
  [ "$second" -gt "${QUIET_S:-8}" ] && [ "$quiet" -ge 3 ] && exit 0
done
exit 0
