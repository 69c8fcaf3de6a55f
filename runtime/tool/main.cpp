// main.cpp: the process of `lagoon`: what becomes of it when an arena breaks under its hands.
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include <lagoon/error.hpp>

#include "commands.hpp"
#include "text.hpp"

namespace lagoon::inline v1::tool {

namespace {

extern "C" void on_bus_error(int) {
    constexpr const char* text = "lagoon: the arena's file was cut short while it was being read\n";
    (void)!::write(STDERR_FILENO, text, std::strlen(text));
    ::_exit(exit_error);
}

void on_broken_contract(const char* message) noexcept {
    complain(std::string{"the arena is damaged, or lagoon is: "} + message);
    ::_exit(exit_error);
}

}  // namespace

}  // namespace lagoon::inline v1::tool

int main(int argc, char** argv) {
    using namespace lagoon;
    set_contract_handler(&tool::on_broken_contract);
    ::signal(SIGBUS, &tool::on_bus_error);
    return tool::run(argc, argv);
}
