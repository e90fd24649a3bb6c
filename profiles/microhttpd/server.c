/* server HOST PORT CERT KEY IDLE, or server version */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char large[1 << 20];
static char small[] = "hello from GNU libmicrohttpd\n";

static enum MHD_Result answer(void *unused, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **seen)
{
    static int once;
    (void)unused, (void)method, (void)version, (void)upload;
    if (*seen == NULL) {
        *seen = &once;
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    int is_large = strcmp(path, "/large") == 0;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        is_large ? sizeof large : sizeof small - 1, is_large ? large : small,
        MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static char *content(const char *path)
{
    static const size_t most = 1 << 16;
    char *text = calloc(1, most);
    FILE *file = fopen(path, "r");
    if (text == NULL || file == NULL || fread(text, 1, most - 1, file) == 0) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return text;
}

int main(int count, char **words)
{
    if (count == 2) {
        printf("libmicrohttpd %s\n", MHD_get_version());
        return 0;
    }
    if (count != 6)
        return 2;
    memset(large, 'x', sizeof large);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    if (inet_pton(AF_INET, words[1], &address.sin_addr) != 1)
        return 2;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_TLS | MHD_USE_ERROR_LOG, 0, NULL,
        NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_HTTPS_MEM_CERT, content(words[3]), MHD_OPTION_HTTPS_MEM_KEY, content(words[4]),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)atoi(words[5]), MHD_OPTION_END);
    if (daemon == NULL)
        return 1;
    for (;;)
        pause();
}
