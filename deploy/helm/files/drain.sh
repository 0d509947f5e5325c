admin() {
  exec 3<>/dev/tcp/127.0.0.1/9901
  printf '%s HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}
admin 'POST /healthcheck/fail'
sleep "${NOTICE_S:-10}"
admin 'POST /drain_listeners?graceful'
# The door closes five seconds later, and who came last has two to hear of it: no call at this moment means nothing yet.
for second in $(seq "${CALLS_S:-35}"); do
  sleep 1
  active=$(admin 'GET /stats?filter=^http.public.downstream_(cx|rq)_active$')
  grep -q 'cx_active: 0' <<< "$active" && exit 0
  [ "$second" -gt "${QUIET_S:-8}" ] && grep -q 'rq_active: 0' <<< "$active" && exit 0
done
exit 0
