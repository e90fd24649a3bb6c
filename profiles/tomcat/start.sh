# A JVM that has just started takes seconds for its first handshakes. Be ready when they are over.
(
    for version in -tls1_2 -tls1_3; do
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
                openssl s_client "$version" -quiet -connect @host@:@port@ >/dev/null 2>&1 ||
                sleep 1
        done
    done
    echo warm
) &
exec "$1" -Xmx512m \
    -cp /usr/share/tomcat10/bin/bootstrap.jar:/usr/share/tomcat10/bin/tomcat-juli.jar \
    -Dcatalina.home=/usr/share/tomcat10 -Dcatalina.base=@folder@ -Djava.io.tmpdir=@folder@/temp \
    org.apache.catalina.startup.Bootstrap -config @folder@/server.xml start
