import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes a record for each line "KEY TAB VALUE TAB NAME=HEADER…" with Java's own partitioner, and
 * answers with its partition once it is written: BROKERS TOPIC
 */
class ProduceLines {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        var lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line; (line = lines.readLine()) != null; ) {
                String[] parts = line.split("\t", -1);
                var record = new ProducerRecord<>(args[1], parts[0], parts[1]);
                for (int n = 2; n < parts.length; n++) {
                    int at = parts[n].indexOf('=');
                    record.headers().add(parts[n].substring(0, at), parts[n].substring(at + 1).getBytes("UTF-8"));
                }
                System.out.println(producer.send(record).get().partition());
            }
        }
    }
}
