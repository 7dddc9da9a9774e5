// The one symbol that V8's binding needs and the carrier does not export, expressed through one that it does.
#include <v8-initialization.h>

namespace v8::internal {
class FlagList {
 public:
  class HelpOptions {
    int exit_behavior_;
    const char* usage_;
  };
  static int SetFlagsFromCommandLine(int* argc, char** argv, bool remove_flags, HelpOptions);
};

int FlagList::SetFlagsFromCommandLine(int* argc, char** argv, bool remove_flags, HelpOptions) {
  v8::V8::SetFlagsFromCommandLine(argc, argv, remove_flags);
  return 0;
}
}  // namespace v8::internal
