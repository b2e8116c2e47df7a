import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Writes records with Java's own partitioner: BROKERS TOPIC KEY... */
class Produce {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int n = 2; n < args.length; n++) {
                var record = new ProducerRecord<>(args[1], args[n], "\"java\"");
                record.headers().add("event_type", "t".getBytes());
                producer.send(record).get();
            }
        }
    }
}
