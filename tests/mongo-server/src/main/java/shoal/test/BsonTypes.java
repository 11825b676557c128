package shoal.test;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

import org.h2.mvstore.WriteBuffer;
import org.h2.mvstore.type.BasicDataType;

import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.backend.Missing;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.bson.BsonDecoder;
import de.bwaldvogel.mongo.wire.bson.BsonEncoder;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;

/** How values lie in the file: as BSON, in BSON's order. */
final class BsonTypes {
    private static final Comparator<Object> ORDER = ValueComparator.asc();

    private BsonTypes() {
    }

    static byte[] encode(Map<String, ?> document) {
        ByteBuf buffer = Unpooled.buffer(512);
        BsonEncoder.encodeDocument(document, buffer);
        return ByteBufUtil.getBytes(buffer);
    }

    static Document decode(byte[] bytes) {
        return BsonDecoder.decodeBson(Unpooled.wrappedBuffer(bytes));
    }

    private static void write(WriteBuffer out, List<?> values) {
        Document document = new Document();
        for (Object value : values) {
            document.append(Integer.toString(document.size()), value instanceof Missing ? null : value);
        }
        byte[] bytes = encode(document);
        out.putVarInt(bytes.length).put(bytes);
    }

    private static List<Object> read(ByteBuffer in) {
        byte[] bytes = new byte[org.h2.mvstore.DataUtils.readVarInt(in)];
        in.get(bytes);
        List<Object> values = new ArrayList<>();
        decode(bytes).values().forEach(value -> values.add(Missing.ofNullable(value)));
        return values;
    }

    /** One value of any type: what {@code _id} is. */
    static final class Value extends BasicDataType<Object> {
        @Override
        public int compare(Object one, Object other) {
            return ORDER.compare(one, other);
        }

        @Override
        public int getMemory(Object value) {
            return 64;
        }

        @Override
        public void write(WriteBuffer out, Object value) {
            BsonTypes.write(out, List.of(value));
        }

        @Override
        public Object read(ByteBuffer in) {
            return BsonTypes.read(in).get(0);
        }

        @Override
        public Object[] createStorage(int size) {
            return new Object[size];
        }
    }

    /** The values of an index's fields. */
    static final class Key extends BasicDataType<KeyValue> {
        @Override
        public int compare(KeyValue one, KeyValue other) {
            Iterator<Object> rest = other.iterator();
            for (Object value : one) {
                int order = ORDER.compare(value, rest.next());
                if (order != 0) {
                    return order;
                }
            }
            return 0;
        }

        @Override
        public int getMemory(KeyValue key) {
            return 64 * key.size();
        }

        @Override
        public void write(WriteBuffer out, KeyValue key) {
            List<Object> values = new ArrayList<>();
            key.forEach(values::add);
            BsonTypes.write(out, values);
        }

        @Override
        public KeyValue read(ByteBuffer in) {
            return new KeyValue(BsonTypes.read(in));
        }

        @Override
        public KeyValue[] createStorage(int size) {
            return new KeyValue[size];
        }
    }
}
