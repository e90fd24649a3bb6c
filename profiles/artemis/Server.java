import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;

/** Server ACCEPTOR, or Server version. */
public class Server {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("version")) {
            System.out.println(
                EmbeddedActiveMQ.class.getPackage().getImplementationVersion());
            return;
        }
        var configuration = new ConfigurationImpl()
            .setPersistenceEnabled(false)
            .setSecurityEnabled(false)
            .setJMXManagementEnabled(false)
            .addAcceptorConfiguration("lab", args[0]);
        configuration.setConnectionTtlCheckInterval(200);
        new EmbeddedActiveMQ().setConfiguration(configuration).start();
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
