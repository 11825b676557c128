package shoal.test;

import java.util.Collection;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.TreeSet;
import java.util.UUID;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

import org.h2.mvstore.Cursor;
import org.h2.mvstore.MVMap;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.AbstractSynchronizedMongoCollection;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.DocumentWithPosition;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.bson.ObjectId;

/**
 * A collection in the file, ordered by {@code _id}. Each reader has a copy of its own, so that nobody sees half an
 * update. A filter that names an {@code _id}, several, or a range of them looks at those documents only, whatever else
 * it asks for: the server's own collections look at all.
 */
final class StoredCollection extends AbstractSynchronizedMongoCollection<Object> {
    private static final Set<String> BOUNDS = Set.of("$gt", "$gte", "$lt", "$lte");

    private final MVMap<Object, byte[]> documents;

    StoredCollection(MongoDatabase database, String name, CollectionOptions options, MVMap<Object, byte[]> documents,
            CursorRegistry cursors) {
        super(database, name, options, cursors);
        this.documents = documents;
    }

    @Override
    protected QueryResult queryDocuments(Document query, Document orderBy, int skip, int limit, int batchSize,
            Document fields) {
        boolean ordered = orderBy != null && orderBy.keySet().equals(Set.of("_id"));
        boolean backward = ordered && ((Number) orderBy.get("_id")).intValue() < 0;
        Iterable<Object> positions = positions(query.get("_id"), ordered, backward);
        if (positions == null) {
            return super.queryDocuments(query, orderBy, skip, limit, batchSize, fields);
        }
        return matchDocuments(query, positions, ordered ? null : orderBy, skip, limit, batchSize, fields);
    }

    /** The documents that the condition on {@code _id} leaves, in its order; null if it leaves all in no order. */
    private Iterable<Object> positions(Object condition, boolean ordered, boolean backward) {
        if (isPlain(condition)) {
            return documents.containsKey(condition) ? Set.of(condition) : Set.of();
        }
        Object from = null;
        Object to = null;
        if (condition instanceof Document) {
            Document operators = (Document) condition;
            Object listed = operators.get("$in");
            if (listed instanceof Collection && ((Collection<?>) listed).stream().allMatch(StoredCollection::isPlain)) {
                Set<Object> found = new TreeSet<>(backward ? ValueComparator.desc() : ValueComparator.asc());
                ((Collection<?>) listed).stream().filter(documents::containsKey).forEach(found::add);
                return found;
            }
            if (BOUNDS.containsAll(operators.keySet()) && operators.values().stream().allMatch(StoredCollection::isPlain)) {
                from = operators.getOrDefault("$gte", operators.get("$gt"));
                to = operators.getOrDefault("$lte", operators.get("$lt"));
            }
        }
        if (from == null && to == null && !ordered) {
            return null;
        }
        Object first = backward ? to : from;
        Object last = backward ? from : to;
        return () -> documents.cursor(first, last, backward);
    }

    private static boolean isPlain(Object value) {
        return value instanceof String || value instanceof ObjectId || value instanceof Number;
    }

    @Override
    protected boolean tracksDataSize() {
        return false;
    }

    @Override
    protected void updateDataSize(int difference) {
        // It is added up when somebody asks.
    }

    @Override
    protected int getDataSize() {
        return documents.values().stream().mapToInt(bytes -> bytes.length).sum();
    }

    @Override
    protected Object addDocumentInternal(Document document) {
        Object id = getIdField() == null ? null : Utils.getSubdocumentValue(document, getIdField());
        Object position = id == null ? UUID.randomUUID() : id;
        if (documents.putIfAbsent(position, BsonTypes.encode(document)) != null) {
            throw new IllegalStateException("there is a document " + position + " already");
        }
        return position;
    }

    @Override
    public int count() {
        return documents.size();
    }

    @Override
    public boolean isEmpty() {
        return documents.isEmpty();
    }

    @Override
    protected Document getDocument(Object position) {
        byte[] bytes = documents.get(position);
        return bytes == null ? null : BsonTypes.decode(bytes);
    }

    @Override
    protected void removeDocument(Object position) {
        if (documents.remove(position) == null) {
            throw new NoSuchElementException("there is no document " + position);
        }
    }

    @Override
    protected Stream<DocumentWithPosition<Object>> streamAllDocumentsWithPosition() {
        return stream(false);
    }

    private Stream<DocumentWithPosition<Object>> stream(boolean backward) {
        Cursor<Object, byte[]> cursor = documents.cursor(null, null, backward);
        Iterator<DocumentWithPosition<Object>> all = new Iterator<>() {
            @Override
            public boolean hasNext() {
                return cursor.hasNext();
            }

            @Override
            public DocumentWithPosition<Object> next() {
                Object position = cursor.next();
                return new DocumentWithPosition<>(BsonTypes.decode(cursor.getValue()), position);
            }
        };
        return StreamSupport.stream(Spliterators.spliteratorUnknownSize(all, Spliterator.ORDERED), false);
    }

    @Override
    protected QueryResult matchDocuments(Document query, Document orderBy, int skip, int limit, int batchSize,
            Document fields) {
        Stream<Document> all = stream(isNaturalDescending(orderBy)).map(DocumentWithPosition::getDocument);
        return matchDocumentsFromStream(all, query, orderBy, skip, limit, batchSize, fields);
    }

    @Override
    protected void handleUpdate(Object position, Document oldDocument, Document newDocument) {
        documents.put(position, BsonTypes.encode(newDocument));
    }
}
