/* NVIDIA's management library as far as Assay asks it, with values from the environment:
   FAKE_INIT, an error code; FAKE_GPUS, "total:free[:mig]" in MiB, comma separated; "lost" is a
   card that cannot be opened, "mute" one that tells no memory. A MIG card has one instance.
   FAKE_USE, "percent:milliwatts:degrees" per card, comma separated; what is missing at the end is
   not supported. Who has not opened the library, or has closed it, is told nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { char text[64]; int index, instance; } Card;
static Card cards[8], instances[8];
static int count, users;
int nvmlInitWithFlags(unsigned flags) {
    const char *code = getenv("FAKE_INIT"), *gpus = getenv("FAKE_GPUS");
    if (code && atoi(code)) return atoi(code);
    char text[256];
    count = 0;
    strncpy(text, gpus ? gpus : "", sizeof text - 1);
    for (char *part = strtok(text, ","); part; part = strtok(NULL, ",")) {
        strncpy(cards[count].text, part, 63);
        cards[count].index = count;
        instances[count] = cards[count];
        instances[count].instance = 1;
        count++;
    }
    users++;
    return 0;
}
int nvmlShutdown(void) { return users-- > 0 ? 0 : 1; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Other"; }
int nvmlSystemGetDriverVersion(char *out, unsigned n) { snprintf(out, n, "999.1"); return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = count; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **card) {
    if (!strcmp(cards[index].text, "lost")) return 15;
    *card = &cards[index];
    return 0;
}
int nvmlDeviceGetMemoryInfo(Card *card, Memory *out) {
    unsigned long long total, free;
    if (!users) return 1;
    if (sscanf(card->text, "%llu:%llu", &total, &free) != 2) return 3;
    if (card->instance) total /= 4, free /= 4;
    out->total = total << 20, out->free = free << 20, out->used = (total - free) << 20;
    return 0;
}
static int use(Card *card, int place, unsigned *out) {
    const char *text = getenv("FAKE_USE");
    unsigned values[3];
    for (int i = 0; text && i < card->index; i++) text = strchr(text, ',') ? strchr(text, ',') + 1 : NULL;
    if (!users) return 1;
    if (!text || sscanf(text, "%u:%u:%u", values, values + 1, values + 2) <= place) return 3;
    *out = values[place];
    return 0;
}
int nvmlDeviceGetUtilizationRates(Card *card, unsigned *out) { return use(card, 0, out); }
int nvmlDeviceGetPowerUsage(Card *card, unsigned *out) { return use(card, 1, out); }
int nvmlDeviceGetTemperature(Card *card, unsigned sensor, unsigned *out) { return use(card, 2, out); }
int nvmlDeviceGetUUID(Card *card, char *out, unsigned n) {
    snprintf(out, n, "%s-%d", card->instance ? "MIG" : "GPU", card->index);
    return 0;
}
int nvmlDeviceGetName(Card *card, char *out, unsigned n) { snprintf(out, n, "Fake %d", card->index); return 0; }
int nvmlDeviceGetMigMode(Card *card, unsigned *now, unsigned *next) {
    if (!strstr(card->text, ":mig")) return 3;
    *now = *next = 1;
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(Card *card, unsigned *n) { *n = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(Card *card, unsigned at, void **out) {
    if (at != 2) return 6;
    *out = &instances[card->index];
    return 0;
}
