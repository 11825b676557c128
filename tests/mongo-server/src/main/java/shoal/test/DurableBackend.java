package shoal.test;

import java.util.Locale;
import java.util.Set;

import org.h2.mvstore.MVStore;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.AbstractMongoBackend;
import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;

/** A backend whose answers are durable, as far as the death of this process goes. Writes take turns. */
final class DurableBackend extends AbstractMongoBackend {
    private static final Set<String> WRITES = Set.of(
            "insert", "update", "delete", "findandmodify", "create", "createindexes", "drop", "dropdatabase",
            "dropindexes", "deleteindexes", "renamecollection");

    private final MVStore store;
    private final Object turn = new Object();

    DurableBackend(MVStore store) {
        super(defaultClock());
        this.store = store;
        store.getMapNames().stream()
                .filter(name -> name.startsWith(StoredDatabase.DOCUMENTS))
                .map(name -> Utils.firstFragment(name.substring(StoredDatabase.DOCUMENTS.length())))
                .distinct()
                .forEach(this::resolveDatabase);
    }

    @Override
    protected MongoDatabase openOrCreateDatabase(String name) {
        return new StoredDatabase(name, store, getCursorRegistry());
    }

    @Override
    public Document handleMessage(MongoMessage message) {
        String command = message.getDocument().keySet().iterator().next();
        if (command.equals("hello")) {
            return asPrimary(super.handleCommand(message.getChannel(), message.getDatabaseName(), "isMaster",
                    renamed(message.getDocument())));
        }
        if (!WRITES.contains(command.toLowerCase(Locale.ROOT))) {
            return super.handleMessage(message);
        }
        synchronized (turn) {
            try {
                return super.handleMessage(message);
            } finally {
                store.commit();
            }
        }
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
        if (command.equals("hello")) {
            return asPrimary(super.handleCommand(channel, database, "isMaster", renamed(query)));
        }
        return super.handleCommand(channel, database, command, query);
    }

    private static Document renamed(Document hello) {
        Document query = new Document("isMaster", 1);
        hello.entrySet().stream().skip(1).forEach(entry -> query.append(entry.getKey(), entry.getValue()));
        return query;
    }

    private static Document asPrimary(Document answer) {
        return answer.append("isWritablePrimary", true);
    }

    @Override
    public void close() {
        super.close();
        store.close();
    }
}
