import io.undertow.Undertow;
import io.undertow.UndertowOptions;
import io.undertow.Version;
import java.io.FileInputStream;
import java.nio.ByteBuffer;
import java.security.KeyStore;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/** Server HOST PORT PKCS12 IDLE_MS, or Server version. */
public class Server {
    private static final byte[] SMALL = "hello from Undertow\n".getBytes();
    private static final byte[] LARGE = "x".repeat(1 << 20).getBytes();

    public static void main(String[] args) throws Exception {
        if (args.length == 1) {
            System.out.println(Version.getVersionString());
            return;
        }
        char[] password = "tlsprobe".toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (FileInputStream file = new FileInputStream(args[2])) {
            store.load(file, password);
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, password);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(keys.getKeyManagers(), null, null);
        int idle = Integer.parseInt(args[3]);
        Undertow.builder()
            .addHttpsListener(Integer.parseInt(args[1]), args[0], tls)
            .setServerOption(UndertowOptions.NO_REQUEST_TIMEOUT, idle)
            .setServerOption(UndertowOptions.REQUEST_PARSE_TIMEOUT, idle)
            .setHandler(exchange -> {
                byte[] body = exchange.getRequestPath().equals("/large") ? LARGE : SMALL;
                exchange.getResponseSender().send(ByteBuffer.wrap(body));
            })
            .build()
            .start();
        System.out.println("ready");
    }
}
