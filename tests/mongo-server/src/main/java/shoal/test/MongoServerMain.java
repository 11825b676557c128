package shoal.test;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;

import org.h2.mvstore.MVStore;

import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;

/**
 * mongo-java-server on a file, with what a driver and a durability test need beyond it: a wire version that drivers
 * accept, the command {@code hello}, and writes that are in the file before they are answered.
 *
 * <p>Arguments: the file, and the port (0 lets the system choose). Prints {@code listening on HOST:PORT} once it does,
 * and ends when its standard input does, so that it never outlives the tests that started it.
 */
public final class MongoServerMain {
    /** The oldest that current drivers speak to: MongoDB 4.4. */
    private enum Version implements MongoVersion {
        MONGO_4_4;

        @Override
        public List<Integer> getVersionArray() {
            return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
            return 9;
        }
    }

    private MongoServerMain() {
    }

    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 2) {
            System.err.println("usage: mongo-server FILE PORT");
            System.exit(2);
        }
        MVStore store = new MVStore.Builder().fileName(arguments[0]).autoCommitDisabled().open();
        DurableBackend backend = new DurableBackend(store);
        backend.version(Version.MONGO_4_4);
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
        InetSocketAddress address = server.getLocalAddress();
        System.out.println("listening on " + address.getHostString() + ":" + address.getPort());
        System.out.flush();
        while (System.in.read() >= 0) {
            // Whatever is said, only the end of it means something.
        }
        server.shutdownNow();
    }
}
