admin() {
  exec 3<>/dev/tcp/127.0.0.1/9901
  printf '%s HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}
admin 'POST /healthcheck/fail'
sleep "${NOTICE_S:-10}"
admin 'POST /drain_listeners?graceful'
for _ in $(seq "${CALLS_S:-35}"); do
  admin 'GET /stats?filter=^http.public.downstream_rq_active$' | grep -q 'active: [1-9]' || exit 0
  sleep 1
done
