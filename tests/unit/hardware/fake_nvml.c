/* NVIDIA's management library as far as Assay asks it, with values from the environment:
   FAKE_INIT, an error code; FAKE_GPUS, "total:free[:mig]" in MiB, comma separated; "lost" is a
   card that cannot be opened, "mute" one that tells no memory. A MIG card has one instance. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { char text[64]; int index, instance; } Card;
static Card cards[8], instances[8];
static int count;
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
    return 0;
}
int nvmlShutdown(void) { return 0; }
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
    if (sscanf(card->text, "%llu:%llu", &total, &free) != 2) return 3;
    if (card->instance) total /= 4, free /= 4;
    out->total = total << 20, out->free = free << 20, out->used = 0;
    return 0;
}
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
