package shoal.test;

import java.util.List;

import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;
import org.h2.mvstore.type.ByteArrayDataType;

import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.AbstractSynchronizedMongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.oplog.Oplog;

/** A database: one map of the file for each collection and each unique index. */
final class StoredDatabase extends AbstractSynchronizedMongoDatabase<Object> {
    /** Before the full name of a collection. */
    static final String DOCUMENTS = "documents/";
    private static final String INDEX = "index/";

    private final MVStore store;

    StoredDatabase(String name, MVStore store, CursorRegistry cursors) {
        super(name, cursors);
        this.store = store;
        initializeNamespacesAndIndexes();
    }

    private static MVMap<Object, byte[]> documents(MVStore store, String collection) {
        return store.openMap(DOCUMENTS + collection, new MVMap.Builder<Object, byte[]>()
                .keyType(new BsonTypes.Value()).valueType(ByteArrayDataType.INSTANCE));
    }

    private static MVMap<KeyValue, Object> index(MVStore store, String collection, String name) {
        return store.openMap(INDEX + collection + "/" + name, new MVMap.Builder<KeyValue, Object>()
                .keyType(new BsonTypes.Key()).valueType(new BsonTypes.Value()));
    }

    @Override
    protected Index<Object> openOrCreateUniqueIndex(String collection, String name, List<IndexKey> keys, boolean sparse) {
        return new StoredIndex(index(store, getFullCollectionNamespace(collection), name), name, keys, sparse);
    }

    @Override
    protected MongoCollection<Object> openOrCreateCollection(String collection, CollectionOptions options) {
        MVMap<Object, byte[]> documents = documents(store, getFullCollectionNamespace(collection));
        return new StoredCollection(this, collection, options, documents, cursorRegistry);
    }

    @Override
    protected void dropIndex(MongoCollection<Object> collection, String name) {
        super.dropIndex(collection, name);
        store.removeMap(INDEX + collection.getFullName() + "/" + name);
    }

    @Override
    public void dropCollection(String collection, Oplog oplog) {
        super.dropCollection(collection, oplog);
        String name = getFullCollectionNamespace(collection);
        store.removeMap(DOCUMENTS + name);
        store.getMapNames().stream().filter(map -> map.startsWith(INDEX + name + "/")).forEach(store::removeMap);
    }

    @Override
    public void moveCollection(MongoDatabase from, MongoCollection<?> collection, String name) {
        String before = collection.getFullName();
        super.moveCollection(from, collection, name);
        String after = getFullCollectionNamespace(name);
        store.renameMap(documents(store, before), DOCUMENTS + after);
        String prefix = INDEX + before + "/";
        for (String map : List.copyOf(store.getMapNames())) {
            if (map.startsWith(prefix)) {
                String index = map.substring(prefix.length());
                store.renameMap(index(store, before, index), INDEX + after + "/" + index);
            }
        }
    }

    @Override
    protected long getStorageSize() {
        return store.getFileStore().size();
    }

    @Override
    protected long getFileSize() {
        return getStorageSize();
    }
}
