import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import io.strimzi.api.kafka.model.common.UnknownPropertyPreserving;
import io.strimzi.api.kafka.model.kafka.Kafka;
import io.strimzi.api.kafka.model.nodepool.KafkaNodePool;
import io.strimzi.api.kafka.model.topic.KafkaTopic;
import io.strimzi.api.kafka.model.user.KafkaUser;
import java.io.File;
import java.lang.reflect.Method;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;

/**
 * Reads resources into Strimzi's own model, as its operator does, and names every member that the
 * model does not have and every value that it does not take: {@code java -cp … Check.java FILE…}.
 */
final class Check {
    private static final Map<String, Class<?>> KINDS = Map.of(
            "Kafka", Kafka.class,
            "KafkaNodePool", KafkaNodePool.class,
            "KafkaTopic", KafkaTopic.class,
            "KafkaUser", KafkaUser.class);

    public static void main(String[] files) throws Exception {
        ObjectMapper mapper = new ObjectMapper(new YAMLFactory())
                .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, true);
        Set<String> wrong = new LinkedHashSet<>();
        int read = 0;
        for (String file : files) {
            for (JsonNode one : mapper.readerFor(JsonNode.class).<JsonNode>readValues(new File(file)).readAll()) {
                String kind = one.path("kind").asText();
                String name = file + ": " + kind + "/" + one.path("metadata").path("name").asText();
                if (!KINDS.containsKey(kind)) {
                    wrong.add(name + ": no kind of Strimzi's that is known here");
                    continue;
                }
                try {
                    Object resource = mapper.treeToValue(one, KINDS.get(kind));
                    unknown(name, resource, wrong);
                    lost(name, one, mapper.valueToTree(resource), wrong);
                } catch (com.fasterxml.jackson.core.JacksonException error) {
                    wrong.add(name + ": " + error.getOriginalMessage());
                }
                read++;
            }
        }
        wrong.forEach(System.err::println);
        System.out.println(read + " resources read, " + wrong.size() + " mistakes");
        System.exit(wrong.isEmpty() && read > 0 ? 0 : 1);
    }

    /** Adds what {@code value} and everything below it has kept as not known. */
    private static void unknown(String where, Object value, Set<String> wrong) throws Exception {
        if (value instanceof Collection<?> many) {
            int index = 0;
            for (Object one : many) {
                unknown(where + "[" + index++ + "]", one, wrong);
            }
            return;
        }
        if (value == null || !value.getClass().getName().startsWith("io.strimzi.") || value instanceof Enum) {
            return;
        }
        if (value instanceof UnknownPropertyPreserving preserving) {
            preserving.getAdditionalProperties().keySet().forEach(key -> wrong.add(where + " has no member " + key));
        }
        for (Method method : value.getClass().getMethods()) {
            boolean getter = method.getName().startsWith("get") && method.getParameterCount() == 0;
            if (getter && !method.getName().equals("getAdditionalProperties")) {
                unknown(where + "." + method.getName().substring(3), method.invoke(value), wrong);
            }
        }
    }

    /** Adds what is given and did not come through the model: a word that an enumeration does not have. */
    private static void lost(String where, JsonNode given, JsonNode kept, Set<String> wrong) {
        if (kept.isMissingNode() || kept.isNull()) {
            wrong.add(where + " is not " + given);
            return;
        }
        given.fields().forEachRemaining(member ->
                lost(where + "." + member.getKey(), member.getValue(), kept.path(member.getKey()), wrong));
        for (int index = 0; given.isArray() && index < given.size(); index++) {
            lost(where + "[" + index + "]", given.get(index), kept.path(index), wrong);
        }
    }

    private Check() {
    }
}
