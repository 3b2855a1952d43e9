/* paho_c PORT VERSION: MQTTAsync with automaticReconnect; a first connect that fails is left to the program, which tries
 * again in a second. VERSION is 3.1.1 (asked for), 5, or default (what a program gets that says nothing). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <MQTTAsync.h>

static volatile int wants_connect = 1;
static void lost(void *context, char *cause) { printf("connection lost\n"); fflush(stdout); }
static void connected(void *context, char *cause) { printf("connected\n"); fflush(stdout); }
static int arrived(void *c, char *topic, int length, MQTTAsync_message *message) { MQTTAsync_freeMessage(&message); MQTTAsync_free(topic); return 1; }
static void failed(void *c, MQTTAsync_failureData *data) { printf("failed %d\n", data ? data->code : 0); fflush(stdout); wants_connect = 1; }
static void failed5(void *c, MQTTAsync_failureData5 *data) { printf("failed %d reason 0x%x\n", data ? data->code : 0, data ? data->reasonCode : 0); fflush(stdout); wants_connect = 1; }

int main(int argc, char **argv) {
    char uri[64];
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%s", argv[1]);
    int is_five = !strcmp(argv[2], "5");
    MQTTAsync client;
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
    if (is_five) create.MQTTVersion = MQTTVERSION_5;
    MQTTAsync_createWithOptions(&client, uri, "c1", MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    MQTTAsync_setCallbacks(client, NULL, lost, arrived, NULL);
    MQTTAsync_setConnected(client, NULL, connected);
    MQTTAsync_connectOptions five = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions older = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions options = is_five ? five : older;
    options.automaticReconnect = 1;
    if (is_five) options.onFailure5 = failed5; else options.onFailure = failed;
    if (!strcmp(argv[2], "3.1.1")) options.MQTTVersion = MQTTVERSION_3_1_1;
    for (;;) {
        if (wants_connect) {
            wants_connect = 0;
            int code = MQTTAsync_connect(client, &options);
            if (code) { printf("MQTTAsync_connect %d\n", code); fflush(stdout); }
        }
        sleep(1);
    }
}
