/* A loop that only counts: what receiving all route notifications of a namespace costs at the least. Prints messages, losses and CPU seconds
 * at SIGTERM. Built and run by benches/netlink.sh; the bar for `flapscope live` is 1.2 times its CPU. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

static volatile sig_atomic_t done;
static void end(int signal) { (void)signal; done = 1; }

int main(int argc, char **argv)
{
    static const int groups[] = {RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_IFADDR,
                                 RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP};
    static char buffer[64 << 10];
    int size = argc > 1 ? atoi(argv[1]) : 32 << 20;
    unsigned long messages = 0, losses = 0;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
    struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) != 0)
        return perror("netlink"), 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    for (unsigned i = 0; i < sizeof groups / sizeof *groups; i++)
        setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof *groups);
    signal(SIGTERM, end);
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    while (!done) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got < 0) {
            if (errno == ENOBUFS)
                losses++;
            else
                poll(&waits, 1, 100);
            continue;
        }
        int rest = (int)got;
        for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, rest); m = NLMSG_NEXT(m, rest))
            messages++;
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("%lu messages, %lu losses, %.2f user + %.2f system CPU-s\n", messages, losses, used.ru_utime.tv_sec + used.ru_utime.tv_usec / 1e6,
           used.ru_stime.tv_sec + used.ru_stime.tv_usec / 1e6);
    return 0;
}
