import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.Statement;

/** Client HOST PORT PAUSE USE: what a HikariCP pool does with one connection; or Client version. */
public class Client {
    public static void main(String[] args) throws Exception {
        if (args.length == 1) {
            String driver = org.postgresql.util.DriverInfo.DRIVER_VERSION;
            String pool = HikariDataSource.class.getProtectionDomain().getCodeSource().getLocation().getPath();
            System.out.println(pool.replaceAll(".*HikariCP-|[.]jar", "") + ", pgjdbc " + driver);
            return;
        }
        HikariConfig settings = new HikariConfig();
        settings.setJdbcUrl("jdbc:postgresql://" + args[0] + ":" + args[1] + "/postgres?sslmode=require");
        settings.setUsername("postgres");
        settings.setMaximumPoolSize(1);
        long pause = (long) (Double.parseDouble(args[2]) * 1000);
        try (HikariDataSource pool = new HikariDataSource(settings)) {
            query(pool);
            if (pause > 0) {
                Thread.sleep(pause);
                query(pool);
            }
        }
    }

    private static void query(HikariDataSource pool) {
        try (Connection connection = pool.getConnection(); Statement statement = connection.createStatement()) {
            statement.execute("select 1");
            System.out.println("query answered");
        } catch (SQLException error) {
            System.out.println("query failed: " + error.getMessage());
        }
    }
}
