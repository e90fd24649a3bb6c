import java.nio.ByteBuffer;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.SecureRequestCustomizer;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.SslConnectionFactory;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Jetty;
import org.eclipse.jetty.util.ssl.SslContextFactory;

/** Server HOST PORT PKCS12 IDLE_MS, or Server version. */
public class Server {
    private static final byte[] SMALL = "hello from Jetty\n".getBytes();
    private static final byte[] LARGE = "x".repeat(1 << 20).getBytes();

    public static void main(String[] args) throws Exception {
        if (args.length == 1) {
            System.out.println(Jetty.VERSION);
            return;
        }
        var tls = new SslContextFactory.Server();
        tls.setKeyStorePath(args[2]);
        tls.setKeyStorePassword("tlsprobe");
        tls.setSniRequired(false);
        var http = new HttpConfiguration();
        http.addCustomizer(new SecureRequestCustomizer(false));
        var server = new org.eclipse.jetty.server.Server();
        var connector = new ServerConnector(
            server, new SslConnectionFactory(tls, "http/1.1"), new HttpConnectionFactory(http));
        connector.setHost(args[0]);
        connector.setPort(Integer.parseInt(args[1]));
        connector.setIdleTimeout(Long.parseLong(args[3]));
        server.addConnector(connector);
        server.setHandler(new Answer());
        server.start();
        System.out.println("ready");
        server.join();
    }

    private static class Answer extends Handler.Abstract {
        @Override
        public boolean handle(Request request, Response response, Callback callback) {
            byte[] body = request.getHttpURI().getPath().equals("/large") ? LARGE : SMALL;
            response.getHeaders().put(HttpHeader.CONTENT_LENGTH, body.length);
            response.write(true, ByteBuffer.wrap(body), callback);
            return true;
        }
    }
}
