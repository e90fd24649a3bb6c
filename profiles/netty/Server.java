import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import io.netty.handler.timeout.ReadTimeoutException;
import io.netty.handler.timeout.ReadTimeoutHandler;
import io.netty.util.Version;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** Server HOST PORT CERT KEY IDLE_MS, or Server version. */
public class Server {
    private static final byte[] SMALL = "hello from Netty\n".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] LARGE = "x".repeat(1 << 20).getBytes(StandardCharsets.US_ASCII);

    public static void main(String[] args) throws Exception {
        if (args.length == 1) {
            System.out.println(Version.identify().get("netty-common").artifactVersion());
            return;
        }
        SslContext tls = SslContextBuilder.forServer(new File(args[2]), new File(args[3]))
            .sslProvider(SslProvider.JDK)
            .build();
        long idle = Long.parseLong(args[4]);
        var group = new MultiThreadIoEventLoopGroup(NioIoHandler.newFactory());
        var listening = new ServerBootstrap()
            .group(group)
            .channel(NioServerSocketChannel.class)
            .childHandler(new ChannelInitializer<SocketChannel>() {
                @Override
                protected void initChannel(SocketChannel channel) {
                    channel.pipeline().addLast(
                        tls.newHandler(channel.alloc()),
                        new ReadTimeoutHandler(idle, TimeUnit.MILLISECONDS),
                        new HttpServerCodec(),
                        new HttpObjectAggregator(1 << 20),
                        new Answer());
                }
            })
            .bind(args[0], Integer.parseInt(args[1]))
            .sync();
        System.out.println("ready");
        listening.channel().closeFuture().sync();
    }

    private static class Answer extends SimpleChannelInboundHandler<FullHttpRequest> {
        @Override
        protected void channelRead0(ChannelHandlerContext context, FullHttpRequest request) {
            byte[] body = request.uri().equals("/large") ? LARGE : SMALL;
            var response = new DefaultFullHttpResponse(
                HttpVersion.HTTP_1_1, HttpResponseStatus.OK, Unpooled.wrappedBuffer(body));
            boolean stays = HttpUtil.isKeepAlive(request);
            HttpUtil.setContentLength(response, body.length);
            HttpUtil.setKeepAlive(response, stays);
            var sent = context.writeAndFlush(response);
            if (!stays) {
                sent.addListener(ChannelFutureListener.CLOSE);
            }
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
            if (!(cause instanceof ReadTimeoutException)) {
                System.err.println(cause);
            }
            context.close();
        }
    }
}
