@SETLOCAL
@IF EXIST "%~dp0\node.exe" (
  "%~dp0\node.exe"  "%~dp0\global\5\.pnpm\@moonshot-ai+kimi-code@2.1.0\node_modules\@moonshot-ai\kimi-code\dist\main.mjs" %*
) ELSE (
  @SET PATHEXT=%PATHEXT:;.JS;=;%
  node  "%~dp0\global\5\.pnpm\@moonshot-ai+kimi-code@2.1.0\node_modules\@moonshot-ai\kimi-code\dist\main.mjs" %*
)
