// faults.cpp: names the arena when a reference kept from before close() is used.
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include <lagoon/arena.hpp>

#include "attachment.hpp"

namespace lagoon::inline v1 {

namespace {

struct sigaction handler_before;

/// Async-signal-safe but for snprintf, which formats into the stack only.
void explain(int signal, siginfo_t* info, void* context) {
    char line[400];
    const int length = detail::explain_address(info->si_addr, line, sizeof line);
    if (length > 0) {
        [[maybe_unused]] const ssize_t written =
            ::write(STDERR_FILENO, line, static_cast<std::size_t>(length));
    }
    if ((handler_before.sa_flags & SA_SIGINFO) != 0 && handler_before.sa_sigaction != nullptr) {
        handler_before.sa_sigaction(signal, info, context);
    } else if (handler_before.sa_handler != SIG_DFL && handler_before.sa_handler != SIG_IGN) {
        handler_before.sa_handler(signal);
    } else {
        // Back to the default, under which the faulting instruction ends the process; a signal
        // that somebody sent does not come again by itself.
        ::signal(signal, SIG_DFL);
        if (info->si_code <= 0) ::raise(signal);
    }
}

void install() {
    struct sigaction action {};
    action.sa_sigaction = &explain;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    ::sigaction(SIGSEGV, &action, &handler_before);
}

}  // namespace

void explain_faults() {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    ::pthread_once(&once, &install);
}

}  // namespace lagoon::inline v1
