#!/bin/sh
basedir=$(dirname "$(echo "$0" | sed -e 's,\\,/,g')")

case `uname` in
    *CYGWIN*|*MINGW*|*MSYS*)
        if command -v cygpath > /dev/null 2>&1; then
            basedir=`cygpath -w "$basedir"`
        fi
    ;;
esac

if [ -z "$NODE_PATH" ]; then
  export NODE_PATH="@PNPM_HOME@/global/5/.pnpm/@moonshot-ai+kimi-code@2.1.0/node_modules/@moonshot-ai/kimi-code/node_modules:@PNPM_HOME@/global/5/.pnpm/@moonshot-ai+kimi-code@2.1.0/node_modules:@PNPM_HOME@/global/5/.pnpm/node_modules"
else
  export NODE_PATH="@PNPM_HOME@/global/5/.pnpm/@moonshot-ai+kimi-code@2.1.0/node_modules/@moonshot-ai/kimi-code/node_modules:@PNPM_HOME@/global/5/.pnpm/@moonshot-ai+kimi-code@2.1.0/node_modules:@PNPM_HOME@/global/5/.pnpm/node_modules:$NODE_PATH"
fi
if [ -x "$basedir/node" ]; then
  exec "$basedir/node"  "$basedir/global/5/.pnpm/@moonshot-ai+kimi-code@2.1.0/node_modules/@moonshot-ai/kimi-code/dist/main.mjs" "$@"
else
  exec node  "$basedir/global/5/.pnpm/@moonshot-ai+kimi-code@2.1.0/node_modules/@moonshot-ai/kimi-code/dist/main.mjs" "$@"
fi
